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
pub(crate) struct HostKeyWatch {
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
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
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
pub(crate) fn is_plain_key(key: &[u8]) -> bool {
    let families: [&[u8]; 3] = [b"ssh-", b"ecdsa-sha2-", b"sk-"];
    string(key).is_some_and(|name| {
        families.iter().any(|family| name.starts_with(family))
            && name.iter().all(u8::is_ascii_graphic)
            && !name.windows(6).any(|part| part == b"-cert-")
    })
}

#[cfg(test)]
mod tests;
