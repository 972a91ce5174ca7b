//! Tests of `spec`.

use super::*;

fn tcp(address: Option<&str>, port: u16) -> ListenSpec {
    ListenSpec::Tcp(address.map(|address| bind(address).unwrap()), port)
}

#[test]
fn every_form_of_openssh_is_understood() {
    for (spec, listen, host, port) in [
        ("8080", tcp(None, 8080), None, 8080),
        ("8080:localhost:80", tcp(None, 8080), None, 80),
        ("0:127.0.0.1:80", tcp(None, 0), None, 80),
        ("8080:80", tcp(None, 8080), None, 80),
        (":80", tcp(None, 0), None, 80),
        ("8080:[::1]:80", tcp(None, 8080), None, 80),
        ("8080:db.internal:3306", tcp(None, 8080), Some("db.internal"), 3306),
        ("127.0.0.2:8080:10.0.0.7:80", tcp(Some("127.0.0.2"), 8080), Some("10.0.0.7"), 80),
        ("localhost:8080:h:80", tcp(Some("localhost"), 8080), Some("h"), 80),
        ("*:8080:h:80", tcp(Some("0.0.0.0"), 8080), Some("h"), 80),
        (":8080:h:80", tcp(Some("0.0.0.0"), 8080), Some("h"), 80),
        ("[::1]:8080:[fd00::7]:80", tcp(Some("::1"), 8080), Some("fd00::7"), 80),
        ("/tmp/db.sock:db:3306", ListenSpec::Unix("/tmp/db.sock".into()), Some("db"), 3306),
        ("./db.sock:localhost:5432", ListenSpec::Unix("./db.sock".into()), None, 5432),
    ] {
        let forward = Forward { listen, host: host.map(str::to_owned), port };
        assert_eq!(spec.parse(), Ok(forward), "{spec}");
    }
}

#[test]
fn what_is_not_understood_says_what_is_wrong_with_it() {
    let parse = |spec: &str| spec.parse::<Forward>().unwrap_err();
    for spec in ["a:b:c:d:e", "80:h", "[::1:80:h:80", "/tmp/s:80"] {
        assert_eq!(parse(spec), SpecError::Form, "{spec}");
    }
    for (spec, text, least) in [
        ("", "", 1),
        ("0", "0", 1),
        ("65536", "65536", 1),
        ("ssh", "ssh", 1),
        ("+80:h:80", "+80", 0),
        ("80:h:0", "0", 1),
        ("80:0", "0", 1),
        ("db:80", "db", 0),
        ("80:h:", "", 1),
    ] {
        assert_eq!(parse(spec), SpecError::Port(text.into(), least), "{spec}");
    }
    assert_eq!(parse("example.com:80:h:80"), SpecError::Bind("example.com".into()));
    for spec in ["80:/run/s", "*:80:/run/s", "/tmp/s:/run/s"] {
        assert_eq!(parse(spec), SpecError::FarSocket("/run/s".into()), "{spec}");
    }
    assert_eq!(parse("80::80"), SpecError::Host(String::new()));
    assert_eq!(parse("80:a b:80"), SpecError::Host("a b".into()));
}

#[test]
fn an_address_that_stands_alone_may_have_its_brackets() {
    for text in ["::1", "[::1]"] {
        assert_eq!(bind(text), Ok(Bind::One(Ipv6Addr::LOCALHOST.into())));
        assert_eq!(host(text), Ok(None));
    }
    assert_eq!(host("[fd00::7]"), Ok(Some("fd00::7".into())));
    assert!(bind("[127.0.0.1]").is_err() && bind("[::1").is_err());
}

#[test]
fn the_bind_option_fills_what_a_forward_leaves_open() {
    let any = Bind::One(Ipv4Addr::UNSPECIFIED.into());
    assert_eq!(tcp(None, 80).at(any).to_string(), "0.0.0.0:80");
    assert_eq!(tcp(Some("::1"), 80).at(any).to_string(), "[::1]:80");
    assert_eq!(tcp(None, 80).at(Bind::Loopbacks), Listen::Loopbacks(80));
    assert_eq!(tcp(Some("localhost"), 80).at(any), Listen::Loopbacks(80));
    assert_eq!(tcp(Some("127.0.0.1"), 80).at(Bind::Loopbacks).to_string(), "127.0.0.1:80");
}
