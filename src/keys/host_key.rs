//! Which host key an SSH server shows, read from what passes.
//!
//! The first key exchange of a connection is not encrypted (RFC 4253, sections 4.2, 6 and 8): the
//! server's identification line, its packets, and in the reply of the exchange the host key. What
//! is looked at here is only looked at: every byte passes as it came.

/// Where the look ends, in bytes: a first key exchange is far shorter.
const MAX: usize = 64 * 1024;
/// The longest packet, in bytes; RFC 4253 asks implementations for 35,000.
const MAX_PACKET: usize = 48 * 1024;

/// SSH_MSG_NEWKEYS: after it everything is encrypted.
const NEWKEYS: u8 = 21;
/// SSH_MSG_KEXDH_REPLY, also of the elliptic and the hybrid exchanges; in a group exchange
/// (RFC 4419) the group.
const REPLY: u8 = 31;
/// SSH_MSG_KEX_DH_GEX_REPLY.
const GROUP_REPLY: u8 = 33;

/// Looks for the host key in what a server sends.
#[derive(Debug, Default)]
pub struct HostKeyWatch {
    seen: Vec<u8>,
    /// Whether the identification line has passed.
    identified: bool,
    /// How much of `seen` is done with.
    at: usize,
    done: bool,
}

impl HostKeyWatch {
    /// Looks at the next bytes of the server. Gives the key, in its binary form, once, if it is
    /// plain to see.
    pub fn look(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.done {
            return None;
        }
        let room = MAX - self.seen.len();
        self.seen.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let found = self.search();
        if found.is_some() || self.seen.len() == MAX {
            self.stop();
        }
        found
    }

    fn stop(&mut self) {
        self.done = true;
        self.seen = Vec::new();
    }

    fn search(&mut self) -> Option<Vec<u8>> {
        while !self.identified {
            let rest = &self.seen[self.at..];
            let line = rest.iter().position(|byte| *byte == b'\n')?;
            // Other lines may come before it.
            self.identified = rest.starts_with(b"SSH-");
            self.at += line + 1;
        }
        loop {
            let rest = self.seen.get(self.at..)?;
            let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
            if !(2..=MAX_PACKET).contains(&length) {
                self.stop();
                return None;
            }
            let packet = rest.get(4..4 + length)?;
            self.at += 4 + length;
            // One byte tells how much padding there is at the end.
            let payload = packet.get(1..length.saturating_sub(usize::from(packet[0])));
            match payload.and_then(<[u8]>::split_first) {
                Some((&(REPLY | GROUP_REPLY), fields)) => {
                    if let Some(key) = string(fields).filter(|key| is_plain_key(key)) {
                        return Some(key.to_vec());
                    }
                }
                Some((&NEWKEYS, _)) | None => {
                    self.stop();
                    return None;
                }
                _ => {}
            }
        }
    }
}

/// The first field: a length, and so many bytes.
fn string(fields: &[u8]) -> Option<&[u8]> {
    let length = usize::try_from(u32::from_be_bytes(*fields.first_chunk()?)).ok()?;
    fields.get(4..)?.get(..length)
}

/// Whether it begins with the name of a type of keys. The first number of a group does not, and a
/// certificate's name is another one.
pub fn is_plain_key(key: &[u8]) -> bool {
    let families: [&[u8]; 3] = [b"ssh-", b"ecdsa-sha2-", b"sk-"];
    string(key).is_some_and(|name| {
        families.iter().any(|family| name.starts_with(family))
            && name.iter().all(u8::is_ascii_graphic)
            && !name.windows(6).any(|part| part == b"-cert-")
    })
}

#[cfg(test)]
mod tests {
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
}
