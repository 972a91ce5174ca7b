//! Tests of `request`.

use super::*;

fn request(line: &[&str]) -> Result<Request> {
    use clap::Parser as _;

    let line = [&["ecs-bridge", "forward"], line].concat();
    let cli::Command::Forward(args) = cli::Cli::try_parse_from(line).unwrap().command else {
        panic!("another command");
    };
    Request::new(&args)
}

#[test]
fn the_instance_and_the_forwards_are_words_or_options() {
    for line in [
        &["i-a", "5432:5432"][..],
        &["i-a", "5432"],
        &["-i", "i-a", "5432"],
        &["5432", "-i", "i-a"],
        &["i-a", "-L", "5432"],
        &["i-a", "5432:localhost:5432"],
        &["-i", "i-a", "-L", "5432:5432"],
        &["i-a", "--local-port", "5432", "--remote-port", "5432"],
        &["i-a", "5432", "--", "psql"],
    ] {
        let request = request(line).unwrap();
        assert_eq!(request.instance, "i-a", "{line:?}");
        assert_eq!(request.forwards, ["5432:localhost:5432".parse().unwrap()], "{line:?}");
    }
    let several = request(&["i-a", "5432", "-L", "80", "8080:80"]).unwrap().forwards;
    assert_eq!(several.iter().map(|forward| forward.port).collect::<Vec<_>>(), [80, 5432, 80]);
    let port = |line| request(line).unwrap().forwards[0].port;
    assert_eq!(port(&["i-a", "--local-port", "80"]), 22);
    for (line, what, fix) in [
        (&[][..], "no instance", "forward web-1 5432"),
        (&["5432"], "nothing to forward", "forward TARGET 5432"),
        (&["i-a"], "nothing to forward", "forward i-a 5432"),
        (&["-i", "i-a", "i-b", "80"], "'i-b' cannot be forwarded", "the instance is 'i-a'"),
        (&["i-a", "ssh"], "\"ssh\" is not a port", "after it come ports"),
    ] {
        let Err(error) = request(line) else { panic!("{line:?}") };
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.remedy().unwrap().contains(fix), "{:?}", error.remedy());
    }
}

fn places(specs: &[&str]) -> Result<Vec<Listen>> {
    let forwards: Vec<_> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
    super::places(&forwards, Bind::Loopbacks)
}

#[test]
fn a_place_that_is_given_twice_is_told() {
    for specs in [
        &["8080:a:80", "9090:a:80", "8080:b:80"][..],
        &["8080:a:80", "127.0.0.1:8080:a:80"],
        &["127.0.0.1:8080:a:80", "localhost:8080:a:80"],
        &["[::1]:8080:a:80", "[::1]:8080:b:80"],
        &["./s:a:80", "././s:b:80"],
    ] {
        let error = places(specs).unwrap_err().to_string();
        assert!(error.contains("is given twice"), "{specs:?}: {error}");
    }
    for specs in [
        &["0:a:80", "0:b:80"][..],
        &["127.0.0.1:0:a:80", "127.0.0.1:0:b:80", "0:c:80"],
        &["8080:a:80", "127.0.0.2:8080:a:80"],
        &["./s:a:80", "./t:a:80"],
    ] {
        assert_eq!(places(specs).unwrap().len(), specs.len(), "{specs:?}");
    }
}

#[test]
fn a_forward_that_names_ipv6_has_it_for_itself() {
    for specs in [["80:a:80", "[::1]:80:b:80"], ["[::1]:80:b:80", "80:a:80"]] {
        let places = places(&specs).unwrap();
        let has = |text: &str| places.contains(&Listen::Tcp(text.parse().unwrap()));
        assert!(has("127.0.0.1:80") && has("[::1]:80"), "{places:?}");
    }
}

#[test]
fn the_bytes_of_a_path_are_counted() {
    let spec = |bytes: usize| format!("/{}:a:80", "x".repeat(bytes - 1));
    assert!(places(&[&spec(MOST_PATH_BYTES)]).is_ok());
    let error = places(&[&spec(MOST_PATH_BYTES + 1)]).unwrap_err().to_string();
    let (has, may) = (MOST_PATH_BYTES + 1, MOST_PATH_BYTES);
    assert!(error.contains(&format!("has {has} bytes")), "{error}");
    assert!(error.ends_with(&format!("may have {may}")), "{error}");
}
