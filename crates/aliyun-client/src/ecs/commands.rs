//! Commands that the service runs in an instance: RunCommand, InvokeCommand and their results.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::openapi::answer::{all, text, word};
use crate::openapi::client::{Client, random_hex};
use crate::openapi::error::Error;

/// What runs in an instance: `InvokeId`.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The instance that it was sent to.
    pub instance_id: String,
    /// `InvokeId`.
    pub invoke_id: String,
    /// `RequestId` of the call that started it.
    pub request_id: Option<String>,
}

/// How far an invocation is: `InvocationStatus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvocationStatus {
    /// `Pending`, `Scheduled`, `Running`, `Stopping`: not at its end.
    Underway(String),
    /// `Success`.
    Success,
    /// `Failed`, `Error`, `Timeout`, `Cancelled`, `Terminated`, `Aborted`, `Invalid`.
    Failed(String),
    /// An unknown status; another one may follow it.
    Unknown(String),
}

impl InvocationStatus {
    fn parse(word: String) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "pending" | "scheduled" | "running" | "stopping" => Self::Underway(word),
            "success" => Self::Success,
            "failed" | "error" | "timeout" | "cancelled" | "terminated" | "aborted" | "invalid" => {
                Self::Failed(word)
            }
            _ => Self::Unknown(word),
        }
    }
}

/// What `DescribeInvocationResults` says of an invocation in one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvocationResult {
    /// How far it is.
    pub status: InvocationStatus,
    /// `ExitCode`, of a command that has ended.
    pub exit_code: Option<i64>,
    /// `Output`, decoded: stdout and stderr, up to 24 KB. Untrusted text.
    pub output: String,
    /// `ErrorCode`, such as `DeliveryTimeout`.
    pub error_code: Option<String>,
    /// `ErrorInfo`: the service's description of it.
    pub error_info: Option<String>,
}

impl Client {
    /// `RunCommand`: runs a script with `sh` in a Linux instance, for at most `timeout` seconds.
    /// All tries carry one `ClientToken`, so that it runs once.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn run_command(
        &self,
        instance_id: &str,
        script: &str,
        timeout: u32,
    ) -> Result<Invocation, Error> {
        let params = [
            ("Type", "RunShellScript".to_owned()),
            ("CommandContent", STANDARD.encode(script)),
            ("ContentEncoding", "Base64".to_owned()),
            ("Timeout", timeout.to_string()),
        ];
        self.invoke("RunCommand", instance_id, params).await
    }

    /// `InvokeCommand`: runs a command that the service has, with parameters. All tries carry one
    /// `ClientToken`.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn invoke_command(
        &self,
        instance_id: &str,
        command_id: &str,
        parameters: &Value,
    ) -> Result<Invocation, Error> {
        let params = [("CommandId", command_id.to_owned()), ("Parameters", parameters.to_string())];
        self.invoke("InvokeCommand", instance_id, params).await
    }

    async fn invoke(
        &self,
        action: &'static str,
        instance_id: &str,
        params: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Invocation, Error> {
        let mut call = self.prepare_for(action, instance_id)?;
        let token = random_hex().map_err(|problem| self.error(&call, (problem, None), 0))?;
        let common = [("InstanceId.1", instance_id.to_owned()), ("ClientToken", token)];
        for (name, value) in params.into_iter().chain(common) {
            call.set(name, value);
        }
        let answer = self.call(&call).await?;
        let missing = |field| self.missing(&call, &answer, field);
        let invoke_id = text(&answer.0, "InvokeId").ok_or_else(|| missing("InvokeId"))?;
        Ok(Invocation { instance_id: instance_id.to_owned(), invoke_id, request_id: answer.1 })
    }

    /// `DescribeInvocationResults`; `None` if the service does not list the invocation (yet).
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn invocation_result(
        &self,
        invocation: &Invocation,
    ) -> Result<Option<InvocationResult>, Error> {
        let instance_id = &invocation.instance_id;
        let mut call = self.prepare_for("DescribeInvocationResults", instance_id)?;
        call.set("InvokeId", invocation.invoke_id.clone());
        call.set("InstanceId", instance_id.clone());
        call.set("ContentEncoding", "Base64".to_owned());
        let (value, _) = self.call(&call).await?;
        Ok(result(&value, invocation))
    }
}

/// The result of an invocation, if an answer has it.
pub(crate) fn result(answer: &Value, wanted: &Invocation) -> Option<InvocationResult> {
    let item = find(answer, wanted)?;
    Some(InvocationResult {
        status: InvocationStatus::parse(word(item, "InvocationStatus").unwrap_or_default()),
        exit_code: text(item, "ExitCode").and_then(|code| code.parse().ok()),
        output: text(item, "Output").map(|output| decode(&output)).unwrap_or_default(),
        error_code: word(item, "ErrorCode"),
        error_info: text(item, "ErrorInfo"),
    })
}

/// The result of this invocation in this instance. Ids that an answer leaves out are taken to be
/// those of the request.
fn find<'a>(value: &'a Value, wanted: &Invocation) -> Option<&'a Value> {
    let outer = crate::openapi::answer::field(value, "Invocation").unwrap_or(value);
    let is = |item: &Value, name, wanted: &str| text(item, name).is_none_or(|id| id == wanted);
    all(outer, "InvocationResults", "InvocationResult").iter().find(|item| {
        is(item, "InvokeId", &wanted.invoke_id) && is(item, "InstanceId", &wanted.instance_id)
    })
}

fn decode(output: &str) -> String {
    match STANDARD.decode(output) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => output.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn invocation() -> Invocation {
        let (instance_id, invoke_id) = ("i-1".to_owned(), "t-1".to_owned());
        Invocation { instance_id, invoke_id, request_id: None }
    }

    #[test]
    fn results_are_read_leniently() {
        let list = |item: Value| json!({"Invocation": {"InvocationResults": {"InvocationResult": [item]}}});
        let whole = list(json!({
            "InvokeId": "t-1", "InstanceId": "i-1", "InvocationStatus": "Failed", "ExitCode": 7,
            "Output": "aGVsbG8=", "ErrorCode": "ExitCodeNonzero", "ErrorInfo": "seven",
        }));
        let read = |value: &Value| result(value, &invocation());
        let failed = read(&whole).unwrap();
        assert_eq!(failed.status, InvocationStatus::Failed("Failed".into()));
        assert_eq!((failed.exit_code, failed.output.as_str()), (Some(7), "hello"));
        assert_eq!(failed.error_code.as_deref(), Some("ExitCodeNonzero"));
        let bare = read(&list(json!({"invocationstatus": "Running", "Output": "not Base64!"})));
        let bare = bare.unwrap();
        assert_eq!(bare.status, InvocationStatus::Underway("Running".into()));
        assert_eq!((bare.exit_code, bare.output.as_str()), (None, "not Base64!"));
        for (word, status) in [
            ("success", InvocationStatus::Success),
            ("FAILED", InvocationStatus::Failed("FAILED".into())),
            ("Odd", InvocationStatus::Unknown("Odd".into())),
        ] {
            assert_eq!(read(&list(json!({"InvocationStatus": word}))).unwrap().status, status);
        }
        let long = "long ".repeat(9000);
        let long = list(json!({"InvocationStatus": long, "ErrorCode": "\u{1b}[31m"}));
        let long = read(&long).unwrap();
        assert!(format!("{:?}", long.status).len() < 400, "it is part of messages");
        assert_eq!(long.error_code.as_deref(), Some("[31m"));
        assert_eq!(
            read(&list(json!({}))).unwrap().status,
            InvocationStatus::Unknown(String::new())
        );
        for nothing in [
            json!({}),
            json!({"Invocation": {}}),
            json!({"Invocation": {"InvocationResults": {"InvocationResult": []}}}),
            json!({"Invocation": {"InvocationResults": null}}),
            list(json!({"InvokeId": "t-2", "InvocationStatus": "Success"})),
            list(json!({"InstanceId": "i-2", "InvocationStatus": "Success"})),
        ] {
            assert_eq!(read(&nothing), None, "{nothing}");
        }
    }
}
