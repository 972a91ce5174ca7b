//! Advice that several errors have in common.

use std::time::{Duration, SystemTime};

/// What to do about an agent without sessions.
pub(crate) const UPDATE_AGENT: &str = "update the agent to a version later than x.y.3.256 (x.y is the \
    platform: 2.2 for Linux, 2.1 for Windows), in the ECS console > Cloud Assistant > ECS Instances";

/// How Session Manager is switched on.
pub(crate) fn switch_on(region: &str) -> String {
    format!(
        "switch it on in the ECS console (any instance, Connect, Session Manager), or run:\n\
         aliyun ecs ModifyCloudAssistantSettings --RegionId {region} --SettingType \
         SessionManagerConfig --SessionManagerConfig '{{\"SessionManagerEnabled\":true}}'"
    )
}

/// How a clock is set right.
pub(crate) const SET_CLOCK: &str = "set the clock, best by a time service: timedatectl set-ntp \
     true (Linux), w32tm /resync (Windows), System Settings (macOS)";

/// How far a clock is from another one, in words.
pub(crate) fn apart(local: SystemTime, service: SystemTime) -> (Duration, &'static str) {
    // The service tells whole seconds only.
    let (here, there) = (whole_seconds(local), whole_seconds(service));
    match here.checked_sub(there) {
        Some(ahead) => (ahead, "ahead"),
        None => (there.saturating_sub(here), "behind"),
    }
}

fn whole_seconds(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(since.as_secs())
}
