//! How a command ends.

/// How a command ended on an instance: what DescribeInvocationResults says of it from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ending {
    /// `Success`, `Failed`, `Error`, `Timeout`, `Cancelled`, `Terminated`, `Aborted`, `Invalid`, or one that nobody knows.
    pub status: String,
    /// How the process ended, if one was started and did.
    pub exit_code: Option<i32>,
    /// Empty if all went well.
    pub error_code: String,
    /// The same in words.
    pub error_info: String,
    /// What was written, both streams in one, as far as it is kept.
    pub output: Vec<u8>,
    /// How many more bytes were written than are kept.
    pub dropped: usize,
}

impl Ending {
    /// An ending with this status and nothing else to say.
    pub fn new(status: impl Into<String>) -> Self {
        Self {
            status: status.into(),
            exit_code: None,
            error_code: String::new(),
            error_info: String::new(),
            output: Vec::new(),
            dropped: 0,
        }
    }

    /// With this exit code.
    #[must_use]
    pub fn exit_code(mut self, code: i32) -> Self {
        self.exit_code = Some(code);
        self
    }

    /// With this ErrorCode and ErrorInfo.
    #[must_use]
    pub fn error(mut self, code: impl Into<String>, info: impl Into<String>) -> Self {
        (self.error_code, self.error_info) = (code.into(), info.into());
        self
    }

    /// With this output.
    #[must_use]
    pub fn output(mut self, output: impl Into<Vec<u8>>) -> Self {
        self.output = output.into();
        self
    }

    /// `Success`, exit code 0.
    #[must_use]
    pub fn success() -> Self {
        Self::new("Success").exit_code(0)
    }

    /// `Failed`, as a process that exits with another code than 0: `ExitCodeNonzero`.
    #[must_use]
    pub fn failed(code: i32) -> Self {
        let info = "the command execution exit code is not zero";
        Self::new("Failed").exit_code(code).error("ExitCodeNonzero", info)
    }

    /// `Invalid`: `CommandNotApplicable`, as a shell script is not to a Windows instance.
    #[must_use]
    pub fn not_applicable() -> Self {
        Self::new("Invalid").error("CommandNotApplicable", "the command is not applicable")
    }

    /// `Aborted`: `InstanceNotRunning`.
    #[must_use]
    pub fn instance_not_running() -> Self {
        let info = "the instance is not running when create task";
        Self::new("Aborted").error("InstanceNotRunning", info)
    }

    /// `Aborted`: `ClientNotOnline`, when the agent is not there.
    #[must_use]
    pub fn agent_offline() -> Self {
        let info = "the aliyun service on the instance is not online";
        Self::new("Aborted").error("ClientNotOnline", info)
    }

    /// `Aborted`: `DeliveryTimeout`.
    #[must_use]
    pub fn delivery_timeout() -> Self {
        Self::new("Aborted").error("DeliveryTimeout", "the command delivery has been timeout")
    }

    /// `Timeout`: `ExecutionTimeout`.
    #[must_use]
    pub fn execution_timeout() -> Self {
        Self::new("Timeout").error("ExecutionTimeout", "the command execution has been timeout")
    }

    pub(crate) fn instance_gone() -> Self {
        let info = "the specified instance does not exists";
        Self::new("Aborted").error("InstanceNotExists", info)
    }

    /// Whether it got as far as the instance, which one can only tell by what is documented for its status.
    pub(crate) fn was_delivered(&self) -> bool {
        !matches!(self.status.as_str(), "Aborted" | "Invalid" | "Cancelled")
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status == "Success"
    }
}
