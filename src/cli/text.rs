//! What the help says behind its options.

pub(super) const EXAMPLES: &str = "\
Examples:
  ecs-bridge configure            # the credentials, once
  ecs-bridge ssh-config --write   # and what ~/.ssh/config needs
  ssh root@i-bp1example0001
  ssh root@web-1.cn-beijing.ecs
  scp file.tar root@i-bp1example0001:/tmp/
  ssh -o ProxyCommand='ecs-bridge --region cn-beijing proxy %h %p' root@i-bp1example0001";

/// The exit codes, as `--help` and the README list them.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    the far side ended normally, or the local side did
  1    failed, for a reason that has no code of its own
  2    the command line is wrong
  3    configuration or credentials are missing or unreadable; nothing was sent
  4    the service refused the credentials, or the clock is wrong
  5    the credentials lack a permission
  6    the instance, its port or Session Manager is not available, or a quota is reached
  7    the API or the gateway cannot be reached (DNS, TCP, TLS, HTTP, time-out)
  8    the session did not open, or broke after it had opened
  129, 130, 143   ended by SIGHUP, SIGINT, SIGTERM";

/// What can be given for an instance.
pub(super) const TARGET: &str = "The instance: its id (i-…, mi-…), its name, an address of it, or \
    tag:key=value; each may have .REGION behind it, and .ecs behind that";

pub(super) const CREDENTIALS: &str = "\
Credentials, the first that is there:
  --profile or ALIBABA_CLOUD_PROFILE in ~/.aliyun/config.json (the file of the aliyun CLI);
  ALIBABA_CLOUD_ACCESS_KEY_ID, …_ACCESS_KEY_SECRET and, for STS, …_SECURITY_TOKEN;
  ALIBABA_CLOUD_ROLE_ARN, …_OIDC_PROVIDER_ARN and …_OIDC_TOKEN_FILE;
  the current profile of that file;
  ALIBABA_CLOUD_ECS_METADATA: the RAM role of this ECS instance;
  ALIBABA_CLOUD_CREDENTIALS_URI.";
