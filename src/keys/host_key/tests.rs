//! Tests of `host_key`.

use super::*;

fn field(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn packet(payload: &[u8]) -> Vec<u8> {
    field(&[&[4], payload, &[0; 4]].concat())
}

fn key() -> Vec<u8> {
    [field(b"ssh-ed25519"), field(&[7; 32])].concat()
}

fn reply(kind: u8, key: &[u8]) -> Vec<u8> {
    packet(&[&[kind], &field(key)[..], &field(&[9; 32]), &field(b"signature")].concat())
}

/// What is found, whatever the pieces in which it comes.
fn found(stream: &[u8]) -> Option<Vec<u8>> {
    let whole = HostKeyWatch::default().look(stream);
    for size in [1, 3, 7, 100] {
        let mut watch = HostKeyWatch::default();
        let found: Vec<_> = stream.chunks(size).filter_map(|piece| watch.look(piece)).collect();
        assert_eq!(found, whole.clone().into_iter().collect::<Vec<_>>());
    }
    whole
}

#[test]
fn the_key_of_the_first_exchange_is_found() {
    let head = b"a notice\r\nSSH-2.0-test\r\n";
    let kexinit = packet(&[&[20][..], &[0; 300]].concat());
    let (reply31, reply33) = (reply(31, &key()), reply(33, &key()));
    let plain = [&head[..], &kexinit, &reply31].concat();
    assert_eq!(found(&plain), Some(key()));
    // A group exchange: the group first, whose number 31 has, too.
    let group = packet(&[&[31][..], &field(&[0xff; 256]), &field(&[2])].concat());
    let debug = packet(b"\x04\x00");
    assert_eq!(found(&[&head[..], &kexinit, &group, &debug, &reply33].concat()), Some(key()));
}

#[test]
fn what_is_not_plain_to_see_is_not_found() {
    let head = b"SSH-2.0-test\r\n";
    let newkeys = packet(&[21]);
    let cert = [field(b"ssh-ed25519-cert-v01@openssh.com"), field(&[7; 32])].concat();
    let cut = reply(31, &key());
    for stream in [
        &b""[..],
        b"SSH-2.0-test",
        b"HTTP/1.1 400\r\n\r\n",
        &[&head[..], &[0xff; 64]].concat(),
        &[&head[..], &[0, 0, 0, 0]].concat(),
        &[&head[..], &[0, 0, 0, 2, 9, 31]].concat(),
        &[&head[..], &newkeys, &reply(31, &key())].concat(),
        &[&head[..], &reply(31, &cert)].concat(),
        &[&head[..], &reply(31, b"x")].concat(),
        &[&head[..], &packet(&[31, 0xff, 0xff, 0xff, 0xff])].concat(),
        &[&head[..], &cut[..cut.len() - 1]].concat(),
    ] {
        assert_eq!(found(stream), None, "{stream:?}");
    }
}

#[test]
fn it_does_not_look_for_ever() {
    let mut watch = HostKeyWatch::default();
    for _ in 0..1000 {
        assert_eq!(watch.look(&[b'x'; 1000]), None);
    }
    assert!(watch.done && watch.seen.capacity() == 0);
    let mut watch = HostKeyWatch::default();
    let stream = [&b"SSH-2.0-test\r\n"[..], &reply(31, &key()), &reply(31, &key())].concat();
    assert!(watch.look(&stream).is_some());
    assert_eq!(watch.look(&stream), None, "once");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(pieces: Vec<Vec<u8>>) {
        let mut watch = HostKeyWatch::default();
        watch.look(b"SSH-2.0-test\r\n");
        for piece in pieces {
            assert!(watch.look(&piece).is_none_or(|key| is_plain_key(&key)));
        }
    }
}
