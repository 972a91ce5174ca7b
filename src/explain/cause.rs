//! Explanations of errors that libraries carry as a cause.

use aliyun_client::cause::Cause;

use super::failure::Explain;
use crate::credentials;
use crate::platform::replace;
use crate::{proxy, tls};

/// The explanation of such a cause.
pub(super) fn explained(problem: &Cause) -> Option<&dyn Explain> {
    let of_credentials = problem.downcast_ref::<credentials::Error>().map(|it| it as &dyn Explain);
    let of_proxy = || problem.downcast_ref::<proxy::Fault>().map(|it| it as &dyn Explain);
    let of_setting = || problem.downcast_ref::<proxy::SettingError>().map(|it| it as &dyn Explain);
    let of_tls = || problem.downcast_ref::<tls::Fault>().map(|it| it as &dyn Explain);
    let of_setup = || problem.downcast_ref::<tls::Error>().map(|it| it as &dyn Explain);
    let of_file = || problem.downcast_ref::<replace::Error>().map(|it| it as &dyn Explain);
    of_credentials
        .or_else(of_proxy)
        .or_else(of_setting)
        .or_else(of_tls)
        .or_else(of_setup)
        .or_else(of_file)
}
