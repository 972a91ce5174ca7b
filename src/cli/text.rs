//! What the help says behind its options.

pub(super) const EXAMPLES: &str = "\
Examples:
  ecs-bridge configure             # once: credentials and region
  ecs-bridge ssh-config --write    # once: *.ecs and i-* for ssh
  ssh root@web-1.ecs               # then ssh, scp, rsync, git, VS Code as usual
  ecs-bridge forward web-1 5432    # a local port";

/// The exit codes, as `--help` and README.md list them.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    success: the connection was closed normally
  1    any other failure
  2    the command line is wrong
  3    configuration or credentials are missing or unreadable; nothing was sent
  4    the service refused the credentials, or the clock is wrong
  5    the credentials lack a permission
  6    the instance, its port or Session Manager is not available, or a quota is reached
  7    the API or the gateway cannot be reached (DNS, TCP, TLS, HTTP, timeout)
  8    the session did not open, or failed after it had opened
  129, 130, 131, 143   ended by SIGHUP, SIGINT, SIGQUIT, SIGTERM";

/// What can be given for an instance.
pub(super) const TARGET: &str = "Instance: id, name, IP address or tag:key=value [.REGION][.ecs]";

pub(super) const CREDENTIALS: &str = "\
Credentials, the first that are found:
  --profile or ALIBABA_CLOUD_PROFILE in ~/.aliyun/config.json (the file of the aliyun CLI);
  ALIBABA_CLOUD_ACCESS_KEY_ID, …_ACCESS_KEY_SECRET and, for STS, …_SECURITY_TOKEN;
  ALIBABA_CLOUD_ROLE_ARN, …_OIDC_PROVIDER_ARN and …_OIDC_TOKEN_FILE;
  the current profile of that file;
  section default of ~/.alibabacloud/credentials (the file of the SDKs);
  ALIBABA_CLOUD_ECS_METADATA, or the metadata service: the RAM role of this ECS instance;
  ALIBABA_CLOUD_CREDENTIALS_URI.";

/// The variables that no option stands for.
pub(super) const ENVIRONMENT: &str = "\
Credentials and region: see `ecs-bridge help credentials`, and
  ALIBABA_CLOUD_REGION_ID         the region, unless --region is given
  ALIBABA_CLOUD_ENDPOINT          the ECS API endpoint, unless --endpoint is given
  ALIBABA_CLOUD_CONFIG_FILE       the configuration file, unless --config is given

Network and files:
  HTTPS_PROXY, ALL_PROXY          the network proxy, unless --proxy is given
  NO_PROXY                        hosts that are reached directly
  SSL_CERT_FILE, SSL_CERT_DIR     CA certificates (Linux: in place of the platform's)
  ECS_BRIDGE_LOG=off              do not write the log
  XDG_CACHE_HOME, XDG_STATE_HOME  folders of the cache and of the log";

/// What has the lines of `known-hosts` added to the user's file. In PowerShell 5.1 `>>` would write UTF-16.
pub(crate) const fn append_to_known_hosts(is_windows: bool) -> &'static str {
    match is_windows {
        true => "| Add-Content -Encoding ascii \"$HOME\\.ssh\\known_hosts\"",
        false => ">> ~/.ssh/known_hosts",
    }
}
