//! Which instances there are: the calls that find them by name, address and tag, page by page.

use serde_json::Value;

use crate::ecs::sessions::{AgentStatus, InstanceState, agent_of, state_of};
use crate::openapi::answer::{all, field, text};
use crate::openapi::client::Client;
use crate::openapi::config::{Answer, Call};
use crate::openapi::error::{Error, Kind};

/// Instances in one answer of `DescribeInstances`, which takes 10 to 100.
const PAGE: &str = "100";
/// The same of `DescribeManagedInstances`, which takes no more.
const MANAGED_PAGE: &str = "50";
/// The answer's code to a dry run that would have succeeded.
const DRY_RUN: &str = "DryRunOperation";

/// A filter of instances. A field that is not set does not restrict the result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceFilter {
    /// Ids, at most 100 (`mi-…`: at most 50).
    pub ids: Vec<String>,
    /// An address inside the VPC.
    pub private_address: Option<String>,
    /// A public address that an instance was made with.
    pub public_address: Option<String>,
    /// A public address that was bound to it later.
    pub elastic_address: Option<String>,
    /// The name; `*` stands for anything.
    pub name: Option<String>,
    /// A tag's key, and its value.
    pub tag: Option<(String, Option<String>)>,
}

/// An instance, as the service knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// `i-…` or `mi-…`.
    pub id: String,
    /// Its name in the console.
    pub name: String,
    /// The name that its system has.
    pub host_name: Option<String>,
    /// Its region.
    pub region: String,
    /// Whether it runs. Of managed instances, the service knows their agents only.
    pub state: Option<InstanceState>,
    /// `linux`, `windows` and the like.
    pub os_type: Option<String>,
    /// Addresses inside the VPC.
    pub private_addresses: Vec<String>,
    /// Public addresses, elastic ones too.
    pub public_addresses: Vec<String>,
    /// Tags, key and value.
    pub tags: Vec<(String, String)>,
    /// What a managed instance's agent is like.
    pub agent: Option<AgentStatus>,
}

impl Instance {
    /// Whether it is a machine of somewhere else, `mi-…`.
    pub fn is_managed(&self) -> bool {
        self.id.starts_with("mi-")
    }
}

/// One page of the instances that match a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstancePage {
    /// The instances.
    pub instances: Vec<Instance>,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
}

impl Client {
    /// `DescribeInstances`: the first page, or the one behind another.
    ///
    /// # Errors
    /// Every [`Error`]. Without the permission the answer may be an empty list instead:
    /// see [`Client::may_describe_instances`].
    pub async fn instances(
        &self,
        filter: &InstanceFilter,
        after: Option<&str>,
    ) -> Result<InstancePage, Error> {
        let mut call = self.prepare("DescribeInstances", filter.name.clone(), Ok(()))?;
        call.set("InstanceIds", (!filter.ids.is_empty()).then(|| array(&filter.ids)));
        let addresses = [
            ("PrivateIpAddresses", &filter.private_address),
            ("PublicIpAddresses", &filter.public_address),
            ("EipAddresses", &filter.elastic_address),
        ];
        for (name, address) in addresses {
            call.set(name, address.as_ref().map(|a| array(std::slice::from_ref(a))));
        }
        let is_private = filter.private_address.is_some();
        call.set("InstanceNetworkType", is_private.then(|| "vpc".to_owned()));
        call.set("InstanceName", filter.name.clone());
        if let Some((key, value)) = &filter.tag {
            call.set("Tag.1.Key", key.clone());
            call.set("Tag.1.Value", value.clone());
        }
        let (answer, _) = self.page(call, PAGE, after).await?;
        let instances = all(&answer, "Instances", "Instance").iter().filter_map(instance);
        Ok(page(&answer, instances.collect(), self))
    }

    /// `DescribeManagedInstances`, by ids or by name: the first page, or the one behind another.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn managed_instances(
        &self,
        filter: &InstanceFilter,
        after: Option<&str>,
    ) -> Result<InstancePage, Error> {
        let mut call = self.prepare("DescribeManagedInstances", filter.name.clone(), Ok(()))?;
        for (number, id) in (1..).zip(&filter.ids) {
            call.set(&format!("InstanceId.{number}"), id.clone());
        }
        call.set("InstanceName", filter.name.clone());
        let (answer, _) = self.page(call, MANAGED_PAGE, after).await?;
        let instances = all(&answer, "Instances", "Instance").iter().filter_map(managed);
        Ok(page(&answer, instances.collect(), self))
    }

    /// Whether the caller has the permission for `DescribeInstances`: without it the answer may be an
    /// empty list.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn may_describe_instances(&self) -> Result<(), Error> {
        let mut call = self.prepare("DescribeInstances", None, Ok(()))?;
        call.set("DryRun", "true".to_owned());
        match self.call(&call).await {
            Err(error) if error.code().is_some_and(|c| c.eq_ignore_ascii_case(DRY_RUN)) => Ok(()),
            answered => answered.map(drop),
        }
    }

    /// `DescribeCloudAssistantStatus` of many instances, by their ids. Instances without a known agent
    /// are left out.
    ///
    /// # Errors
    /// Every [`Error`]; [`Kind::TooManyInstances`] where the service takes fewer ids.
    pub async fn agent_statuses(
        &self,
        ids: &[String],
    ) -> Result<Vec<(String, AgentStatus)>, Error> {
        let mut call = self.prepare("DescribeCloudAssistantStatus", None, Ok(()))?;
        for (number, id) in (1..).zip(ids) {
            call.set(&format!("InstanceId.{number}"), id.clone());
        }
        let (answer, _) = self.call(&call).await?;
        let set = all(&answer, "InstanceCloudAssistantStatusSet", "InstanceCloudAssistantStatus");
        Ok(set
            .iter()
            .filter_map(|item| Some((text(item, "InstanceId")?, agent_of(item))))
            .collect())
    }

    async fn page(&self, mut call: Call, size: &str, after: Option<&str>) -> Result<Answer, Error> {
        call.set("MaxResults", size.to_owned());
        call.set("NextToken", after.map(str::to_owned));
        self.call(&call).await
    }
}

impl Error {
    /// Whether the service does not do this for these credentials or in this region, and other
    /// calls may still be answered.
    pub fn is_of_this_action(&self) -> bool {
        matches!(
            self.kind(),
            Kind::PermissionMissing
                | Kind::RegionNotSupported
                | Kind::RegionNotFound
                | Kind::OtherCode
        )
    }
}

fn array(texts: &[String]) -> String {
    Value::from(texts.to_vec()).to_string()
}

fn page(answer: &Value, mut instances: Vec<Instance>, client: &Client) -> InstancePage {
    for instance in &mut instances {
        if instance.region.is_empty() {
            client.config().region.as_str().clone_into(&mut instance.region);
        }
    }
    InstancePage { instances, next: text(answer, "NextToken") }
}

/// Names are compared as they are: what stands around them is part of them.
fn exact(item: &Value, name: &str) -> String {
    field(item, name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn instance(item: &Value) -> Option<Instance> {
    let addresses = |outer: Option<&Value>, inner| {
        let list = outer.map(|outer| all(outer, inner, "IpAddress")).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut public = addresses(Some(item), "PublicIpAddress");
    public.extend(field(item, "EipAddress").and_then(|eip| text(eip, "IpAddress")));
    Some(Instance {
        id: text(item, "InstanceId")?,
        name: exact(item, "InstanceName"),
        host_name: text(item, "HostName"),
        region: text(item, "RegionId").unwrap_or_default(),
        state: Some(state_of(item)),
        os_type: text(item, "OSType"),
        private_addresses: addresses(field(item, "VpcAttributes"), "PrivateIpAddress"),
        public_addresses: public,
        tags: tags(item),
        agent: None,
    })
}

fn managed(item: &Value) -> Option<Instance> {
    let connected = text(item, "Connected").and_then(|yes| yes.to_ascii_lowercase().parse().ok());
    let os_type = text(item, "OsType");
    let addresses = |name| text(item, name).into_iter().collect();
    Some(Instance {
        id: text(item, "InstanceId")?,
        name: exact(item, "InstanceName"),
        host_name: text(item, "Hostname"),
        region: String::new(),
        state: None,
        private_addresses: addresses("IntranetIp"),
        public_addresses: addresses("InternetIp"),
        tags: tags(item),
        agent: Some(AgentStatus {
            online: connected,
            version: text(item, "AgentVersion"),
            os_type: os_type.clone(),
            ..AgentStatus::default()
        }),
        os_type,
    })
}

fn tags(item: &Value) -> Vec<(String, String)> {
    let tag = |tag: &Value| Some((text(tag, "TagKey")?, exact(tag, "TagValue")));
    all(item, "Tags", "Tag").iter().filter_map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::scripted::*;
    use serde_json::json;

    #[test]
    fn instances_are_read_whole_and_in_part() {
        let item = json!({
            "InstanceId": "i-1", "InstanceName": " a b ", "HostName": "h", "Status": "Running",
            "OSType": "linux", "RegionId": "cn-test",
            "VpcAttributes": {"PrivateIpAddress": {"IpAddress": ["10.0.0.1", "10.0.0.2"]}},
            "PublicIpAddress": {"IpAddress": ["1.2.3.4"]}, "EipAddress": {"IpAddress": "5.6.7.8"},
            "Tags": {"Tag": [{"TagKey": "k", "TagValue": ""}, {"TagKey": "l", "TagValue": "v"}]},
            "New": {"of": ["tomorrow"]},
        });
        let read = instance(&item).unwrap();
        assert_eq!(read.name, " a b ", "it is part of the name");
        assert_eq!(read.private_addresses, ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(read.public_addresses, ["1.2.3.4", "5.6.7.8"]);
        assert_eq!(read.tags, [("k".into(), String::new()), ("l".into(), "v".into())]);
        assert_eq!(read.state, Some(InstanceState::Running));
        let bare =
            instance(&json!({"InstanceId": "i-1", "EipAddress": {"IpAddress": ""}})).unwrap();
        assert!(bare.public_addresses.is_empty() && bare.name.is_empty());
        assert_eq!(instance(&json!({"InstanceName": "without an id"})), None);
    }

    #[test]
    fn managed_instances_are_read() {
        let item = json!({
            "InstanceId": "mi-1", "InstanceName": "m", "Connected": true, "AgentVersion": "2.2.3.9",
            "Tags": [{"TagKey": "k", "TagValue": "v"}], "IntranetIp": "192.168.0.1",
        });
        let read = managed(&item).unwrap();
        assert!(read.is_managed() && read.state.is_none());
        assert_eq!(read.agent.unwrap().online, Some(true));
        assert_eq!(read.tags, [("k".into(), "v".into())]);
        assert_eq!(read.private_addresses, ["192.168.0.1"]);
    }

    #[tokio::test]
    async fn filters_go_on_the_wire_as_the_service_takes_them() {
        let answer = json("200 OK", "", r#"{"Instances":{"Instance":[]},"NextToken":"n+1"}"#);
        let server = Server::new(&[answer]).await;
        let filter = InstanceFilter {
            ids: vec!["i-1".into(), "i-2".into()],
            private_address: Some("10.0.0.1".into()),
            name: Some("a \"b\"".into()),
            tag: Some(("k".into(), Some(String::new()))),
            ..InstanceFilter::default()
        };
        let page = client(&server).instances(&filter, Some("t=")).await.unwrap();
        assert_eq!(page.next.as_deref(), Some("n+1"));
        let sent = &server.requests()[0];
        for (name, value) in [
            ("InstanceIds", "%5B%22i-1%22%2C%22i-2%22%5D"),
            ("PrivateIpAddresses", "%5B%2210.0.0.1%22%5D"),
            ("InstanceNetworkType", "vpc"),
            ("InstanceName", "a%20%22b%22"),
            ("Tag.1.Key", "k"),
            ("Tag.1.Value", ""),
            ("MaxResults", "100"),
            ("NextToken", "t%3D"),
        ] {
            assert_eq!(query(sent, name), value, "{name}");
        }
    }

    #[tokio::test]
    async fn a_dry_run_tells_whether_it_is_permitted() {
        let server = Server::new(&[refusal("DryRunOperation"), refusal("Forbidden.RAM")]).await;
        let client = client(&server);
        client.may_describe_instances().await.unwrap();
        let error = client.may_describe_instances().await.unwrap_err();
        assert_eq!(error.kind(), Kind::PermissionMissing);
    }
}
