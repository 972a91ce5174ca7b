//! Tests of `report`.

use super::*;

#[test]
fn people_read_sentences() {
    let listening = Event::Listening {
        name: None,
        address: "127.0.0.1:2222",
        addresses: &["127.0.0.1:2222".to_owned(), "[::1]:2222".to_owned()],
        instance: Some("i-1"),
        remote_host: None,
        remote_port: 22,
    };
    assert_eq!(
        for_people(&listening).unwrap(),
        "Forwarding 127.0.0.1:2222 → i-1:22\n  also on [::1]:2222"
    );
    let listening = Event::Listening {
        name: Some("web-1"),
        address: "/tmp/db.sock",
        addresses: &["/tmp/db.sock".to_owned()],
        instance: Some("i-1"),
        remote_host: Some("db"),
        remote_port: 3306,
    };
    assert_eq!(for_people(&listening).unwrap(), "Forwarding /tmp/db.sock → web-1 (i-1) → db:3306");
    let listening = Event::Listening {
        name: None,
        address: "127.0.0.1:2222",
        addresses: &["127.0.0.1:2222".to_owned()],
        instance: None,
        remote_host: None,
        remote_port: 22,
    };
    assert_eq!(
        for_people(&listening).unwrap(),
        "Forwarding 127.0.0.1:2222 → the session of --wss-url:22"
    );
    let closed = Event::Closed {
        connection: 7,
        sent: 999,
        received: 1_500_000,
        duration_ms: 12_340,
        reason: Reason::Target,
    };
    assert_eq!(
        for_people(&closed).unwrap(),
        "connection 7: closed after 12.3 s, 999 B sent, 1.5 MB received: the target closed the connection"
    );
}

#[test]
fn programs_read_one_object_a_line() {
    let event = Event::Opened { connection: 3, session: Some("s-1"), waited_ms: 5 };
    let line =
        serde_json::to_string(&Line { time: "2026-01-01T00:00:00.000Z".into(), event: &event });
    assert_eq!(
        line.unwrap(),
        r#"{"time":"2026-01-01T00:00:00.000Z","event":"opened","connection":3,"session":"s-1","waited_ms":5}"#
    );
    assert_eq!(serde_json::to_string(&Reason::Stopped).unwrap(), r#""stopped""#);
}
