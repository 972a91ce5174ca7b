//! The question that the plug-in on an instance asks for sshd: which keys open the door for this user now?

use std::time::SystemTime;

use bytes::Bytes;
use hyper::{Method, Response, StatusCode, Uri, header::HeaderValue};

use super::{KeyPlugin, KeyQueryRecord};
use crate::{
    api::{Body, Reading, full, parse},
    world::Shared,
};

/// Where it is asked.
pub(crate) const PATH: &str = "/authorized-keys";

/// Answers `GET /authorized-keys?instance=…&user=…`, which nobody signs: text, a key a line.
pub(crate) fn answer(shared: &Shared, method: &Method, uri: &Uri) -> Response<Body> {
    let params = parse(uri.query().unwrap_or_default(), Reading::Form).unwrap_or_default();
    let param = |name: &str| params.get(name).cloned().unwrap_or_default();
    let (instance, user) = (param("instance"), param("user"));
    let plugin = {
        let world = shared.world();
        world.instances.get(&instance).map(|found| found.commands.key_plugin.clone())
    };
    let refusal = if method != Method::GET {
        Some((405, "only GET\n"))
    } else if instance.is_empty() || user.is_empty() {
        Some((400, "the query has to name an instance and a user\n"))
    } else if plugin != Some(KeyPlugin::Installed) {
        Some((404, "no instance of this id has the plug-in\n"))
    } else {
        None
    };
    let mut record = KeyQueryRecord { instance, user, status: 200, keys: 0, at: SystemTime::now() };
    let text = shared.note(|state| {
        let text = if let Some((status, text)) = refusal {
            record.status = status;
            text.to_owned()
        } else {
            let keys = state.commands.valid_keys(&record.instance, &record.user);
            record.keys = keys.len();
            keys.iter().map(|key| format!("{key}\n")).collect()
        };
        let status = record.status;
        state.commands.add_query(record);
        (status, text)
    });
    let (status, text) = text.unwrap_or_default();
    let mut response = Response::new(full(Bytes::from(text)));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert("content-type", kind);
    response
}
