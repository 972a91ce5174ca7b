//! DescribeInstances, DescribeManagedInstances, StartInstance: who there is, by filters and in pages.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    net::Ipv4Addr,
    ops::RangeInclusive,
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Action, ApiError, Call, Params};
use crate::instance::{Instance, InstanceStatus};

/// Ids or addresses in one call.
const MAX_LISTED: usize = 100;
/// Managed instances that one call may name.
const MAX_MANAGED: usize = 50;
/// Tags that one call may name.
const MAX_TAGS: usize = 20;
/// Characters of a name.
const MAX_NAME: usize = 128;

pub(super) const ACTIONS: &[Action] = &[
    Action::ecs("DescribeInstances", describe_instances),
    Action::ecs("DescribeManagedInstances", describe_managed_instances),
    Action::ecs("StartInstance", start_instance),
];

/// What each of them takes. The service ignores the rest, so that a name spelt wrong would filter nothing.
const KNOWN: [(&str, RangeInclusive<usize>, &[&str]); 2] = [
    (
        "DescribeInstances",
        10..=100,
        &[
            "InstanceIds",
            "PrivateIpAddresses",
            "EipAddresses",
            "PublicIpAddresses",
            "InstanceNetworkType",
            "InstanceName",
            "DryRun",
        ],
    ),
    ("DescribeManagedInstances", 1..=50, &["InstanceName"]),
];

/// What a call has that the service refuses, or that means nothing to it.
pub(super) fn violations(action: &str, params: &Params) -> Vec<String> {
    let Some((_, pages, names)) = KNOWN.iter().find(|(name, ..)| *name == action) else {
        return Vec::new();
    };
    let common = [
        "RegionId",
        "MaxResults",
        "NextToken",
        "Action",
        "Version",
        "Format",
        "AccessKeyId",
        "SecurityToken",
        "Signature",
        "SignatureMethod",
        "SignatureVersion",
        "SignatureNonce",
        "Timestamp",
    ];
    let is_known = |name: &str| {
        let plain = names.contains(&name) || common.contains(&name);
        plain
            || name.starts_with("Tag.")
            || action == "DescribeManagedInstances" && name.starts_with("InstanceId.")
    };
    let unknown = params.keys().filter(|name| !is_known(name));
    let mut found: Vec<String> =
        unknown.map(|name| format!("{action} does not take {name}")).collect();
    let filter = Filter::read(params, pages.clone()).err();
    found.extend(filter.map(|error| format!("{action}: {}", error.message)));
    found
}

/// Which instances are asked for, and which page of them.
#[derive(Debug, Default)]
struct Filter {
    ids: Option<Vec<String>>,
    private: Option<Vec<Ipv4Addr>>,
    elastic: Option<Vec<Ipv4Addr>>,
    public: Option<Vec<Ipv4Addr>>,
    name: Option<String>,
    tags: Vec<(String, Option<String>)>,
    most: usize,
    skip: usize,
    digest: u64,
}

impl Filter {
    fn read(params: &Params, pages: RangeInclusive<usize>) -> Result<Self, ApiError> {
        let get = |name: &str| params.get(name).map(String::as_str).filter(|v| !v.is_empty());
        let private = addresses(get("PrivateIpAddresses"), "PrivateIpAddresses")?;
        if private.is_some() && get("InstanceNetworkType") != Some("vpc") {
            let why = "private addresses are those of a VPC: InstanceNetworkType has to be vpc";
            return Err(ApiError::invalid("InstanceNetworkType", why));
        }
        let name = get("InstanceName").map(str::to_owned);
        if name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME) {
            return Err(ApiError::invalid("InstanceName", "longer than 128 characters"));
        }
        let most = match get("MaxResults") {
            None => 10,
            Some(text) => {
                let fits = text.parse().ok().filter(|most| pages.contains(most));
                let (least, last) = (pages.start(), pages.end());
                fits.ok_or_else(|| {
                    ApiError::invalid("MaxResults", &format!("not from {least} to {last}"))
                })?
            }
        };
        let mut filter = Self {
            ids: list(get("InstanceIds"), "InstanceIds")?,
            private,
            elastic: addresses(get("EipAddresses"), "EipAddresses")?,
            public: addresses(get("PublicIpAddresses"), "PublicIpAddresses")?,
            name,
            tags: tags(params)?,
            most,
            ..Self::default()
        };
        let named = numbered(params, "InstanceId")?;
        if !named.is_empty() {
            if named.len() > MAX_MANAGED {
                return Err(ApiError::invalid("InstanceId", "more than 50 of them"));
            }
            filter.ids = Some(named);
        }
        filter.digest = digest(params);
        if let Some(token) = get("NextToken") {
            filter.skip = filter.place_of(token).ok_or_else(|| {
                ApiError::invalid("NextToken", "not one that was given for this question")
            })?;
        }
        Ok(filter)
    }

    fn takes(&self, instance: &Instance) -> bool {
        let facts = &instance.facts;
        let any = |wanted: &Option<Vec<Ipv4Addr>>, has: &[Ipv4Addr]| {
            wanted.as_ref().is_none_or(|wanted| has.iter().any(|address| wanted.contains(address)))
        };
        let tagged = |(key, value): &(String, Option<String>)| {
            let same =
                |(k, v): &(String, String)| k == key && value.as_ref().is_none_or(|w| w == v);
            facts.tags.iter().any(same)
        };
        self.ids.as_ref().is_none_or(|ids| ids.contains(&instance.id))
            && any(&self.private, &facts.private_addresses)
            && any(&self.public, &facts.public_addresses)
            && any(&self.elastic, facts.elastic_address.as_slice())
            && self.name.as_ref().is_none_or(|name| like(name, &instance.name))
            && self.tags.iter().all(tagged)
    }

    /// One page of what is asked for, and the token of the next, empty if there is none.
    fn page<'a>(&self, all: impl Iterator<Item = &'a Instance>) -> (Vec<&'a Instance>, String) {
        let mut rest = all.filter(|instance| self.takes(instance)).skip(self.skip);
        let page: Vec<_> = rest.by_ref().take(self.most).collect();
        let more = rest.next().is_some();
        (page, if more { self.token_of(self.skip + self.most) } else { String::new() })
    }

    fn token_of(&self, place: usize) -> String {
        URL_SAFE_NO_PAD.encode(format!("{place} {:x}", self.digest))
    }

    fn place_of(&self, token: &str) -> Option<usize> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let place = text.split_once(' ')?.0.parse().ok()?;
        (place > 0 && self.token_of(place) == token).then_some(place)
    }
}

/// Two questions with different filters have different ones.
fn digest(params: &Params) -> u64 {
    let filters = ["InstanceIds", "InstanceName", "InstanceNetworkType", "RegionId"];
    let is_filter = |name: &str| {
        filters.contains(&name)
            || name.ends_with("Addresses")
            || name.starts_with("Tag.")
            || name.starts_with("InstanceId.")
    };
    let mut hasher = DefaultHasher::new();
    for (name, value) in params.iter().filter(|(name, _)| is_filter(name)) {
        (name, value).hash(&mut hasher);
    }
    hasher.finish()
}

/// A JSON array of strings, written as a string.
fn list(text: Option<&str>, name: &str) -> Result<Option<Vec<String>>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(list) if list.len() <= MAX_LISTED => Ok(Some(list)),
        Ok(_) => Err(ApiError::invalid(name, "more than 100 of them")),
        Err(_) => Err(ApiError::invalid(name, "not a JSON array of strings")),
    }
}

fn addresses(text: Option<&str>, name: &str) -> Result<Option<Vec<Ipv4Addr>>, ApiError> {
    let Some(list) = list(text, name)? else { return Ok(None) };
    let parsed = list.iter().map(|address| address.parse().ok()).collect::<Option<Vec<_>>>();
    parsed.map(Some).ok_or_else(|| ApiError::invalid(name, "not addresses"))
}

/// `Name.1`, `Name.2`, … without a gap.
fn numbered(params: &Params, name: &str) -> Result<Vec<String>, ApiError> {
    let given = params.keys().filter(|key| key.starts_with(&format!("{name}."))).count();
    let list: Vec<String> =
        (1..).map_while(|n| params.get(&format!("{name}.{n}")).cloned()).collect();
    if list.len() == given { Ok(list) } else { Err(ApiError::invalid(name, "not 1, 2, 3, …")) }
}

fn tags(params: &Params) -> Result<Vec<(String, Option<String>)>, ApiError> {
    let mut found = BTreeMap::<usize, (Option<String>, Option<String>)>::new();
    for (name, value) in params {
        let Some(rest) = name.strip_prefix("Tag.") else { continue };
        let (number, field) = rest.split_once('.').unwrap_or_default();
        let number = number.parse().ok().filter(|n| (1..=MAX_TAGS).contains(n));
        let entry = number.map(|number| found.entry(number).or_default());
        match (entry, field) {
            (Some(entry), "Key") => entry.0 = Some(value.clone()).filter(|key| !key.is_empty()),
            (Some(entry), "Value") => entry.1 = Some(value.clone()),
            _ => return Err(ApiError::invalid("Tag", "not Tag.N.Key or Tag.N.Value")),
        }
    }
    let whole = found.into_values().map(|(key, value)| Some((key?, value)));
    let whole = whole.collect::<Option<Vec<_>>>();
    whole.ok_or_else(|| ApiError::invalid("Tag", "a value without a key"))
}

/// Whether a name is one that a pattern with `*` means.
fn like(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(tail)
}

fn describe_instances(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let region = call.region()?;
    let filter = Filter::read(call.params, 10..=100)?;
    if call.optional("DryRun") == Some("true") {
        let message = "Request validation has been passed with DryRun flag set.";
        return Err(ApiError::new(400, "DryRunOperation", message));
    }
    // Only where `empty_if_denied` says so does a call come here that is not permitted.
    let denied = call.key.denied.contains("DescribeInstances");
    let here = call.world.instances.values().filter(|i| i.region == region && !i.is_managed());
    let (page, next) = filter.page(here.filter(|_| !denied));
    let list: Vec<Value> = page.into_iter().map(described).collect();
    Ok(json!({
        "TotalCount": list.len(),
        "NextToken": next,
        "Instances": {"Instance": list},
    }))
}

fn described(instance: &Instance) -> Value {
    let facts = &instance.facts;
    let tags: Vec<Value> =
        facts.tags.iter().map(|(key, value)| json!({"TagKey": key, "TagValue": value})).collect();
    let elastic = facts.elastic_address.map(|address| address.to_string()).unwrap_or_default();
    json!({
        "InstanceId": instance.id,
        "InstanceName": instance.name,
        "HostName": facts.host_name,
        "Status": instance.status.name(),
        "OSType": instance.os.name().to_ascii_lowercase(),
        "RegionId": instance.region,
        "InstanceNetworkType": "vpc",
        "VpcAttributes": {"PrivateIpAddress": {"IpAddress": facts.private_addresses}},
        "PublicIpAddress": {"IpAddress": facts.public_addresses},
        "EipAddress": {"IpAddress": elastic},
        "Tags": {"Tag": tags},
    })
}

fn describe_managed_instances(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let region = call.region()?;
    let filter = Filter::read(call.params, 1..=50)?;
    let here = call.world.instances.values().filter(|i| i.region == region && i.is_managed());
    let (page, next) = filter.page(here);
    let list: Vec<Value> = page
        .into_iter()
        .map(|instance| {
            let tags = instance.facts.tags.iter();
            json!({
                "InstanceId": instance.id,
                "InstanceName": instance.name,
                "Hostname": instance.facts.host_name,
                "IntranetIp": instance.facts.private_addresses.first(),
                "OsType": instance.os.name().to_ascii_lowercase(),
                "Connected": instance.reachable(),
                "AgentVersion": instance.version(),
                "Tags": tags.map(|(k, v)| json!({"TagKey": k, "TagValue": v})).collect::<Vec<_>>(),
            })
        })
        .collect();
    Ok(json!({"NextToken": next, "Instances": list}))
}

fn start_instance(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let region = call.region()?;
    let id = call.require("InstanceId")?.to_owned();
    let found = call.world.instances.get(&id).filter(|i| i.region == region && !i.is_managed());
    let Some(instance) = found else {
        let message = "The specified InstanceId does not exist.";
        return Err(ApiError::new(404, "InvalidInstanceId.NotFound", message));
    };
    if instance.status != InstanceStatus::Stopped {
        let message = "The current status of the resource does not support this operation.";
        return Err(ApiError::new(403, "IncorrectInstanceStatus", message));
    }
    call.world.boot(&id, Instant::now());
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, fits) in [
            ("web-1", "web-1", true),
            ("web-1", "web-10", false),
            ("web-*", "web-10", true),
            ("*-1", "web-1", true),
            ("*-1", "web-10", false),
            ("w*b*1", "web-b-1", true),
            ("w*b*1", "web-b-2", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("**", "x", true),
            ("数*", "数据库", true),
        ] {
            assert_eq!(like(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn what_the_service_refuses_is_a_violation() {
        let wrong = |params: &[(&str, &str)]| {
            let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            violations("DescribeInstances", &params)
        };
        assert_eq!(wrong(&[("InstanceName", "web-*"), ("MaxResults", "100")]), [""; 0]);
        assert_eq!(wrong(&[("Tag.1.Key", "a"), ("Tag.2.Key", "b"), ("Tag.2.Value", "")]), [""; 0]);
        for params in [
            &[("MaxResults", "9")][..],
            &[("MaxResults", "101")],
            &[("NextToken", "x")],
            &[("PrivateIpAddresses", r#"["10.0.0.1"]"#)],
            &[("EipAddresses", "10.0.0.1")],
            &[("EipAddresses", r#"["x"]"#)],
            &[("InstanceIds", r#"{"a": 1}"#)],
            &[("Tag.1.Value", "a")],
            &[("Tag.0.Key", "a")],
            &[("Tag.1.key", "a")],
            &[("Instancename", "a")],
            &[("InstanceId.1", "i-a")],
        ] {
            assert_ne!(wrong(params), [""; 0], "{params:?}");
        }
    }

    #[test]
    fn a_token_is_good_for_its_question_only() {
        let read = |params: &[(&str, &str)]| {
            let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Filter::read(&params, 10..=100)
        };
        let token = read(&[("InstanceName", "a*")]).unwrap().token_of(20);
        let again = [("InstanceName", "a*"), ("NextToken", &token)];
        assert_eq!(read(&again).unwrap().skip, 20);
        assert!(read(&[("InstanceName", "b*"), ("NextToken", &token)]).is_err());
        assert!(read(&[("NextToken", "MjA")]).is_err());
    }
}
