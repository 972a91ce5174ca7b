//! The sftp subsystem: what `sftp`, and `scp` since OpenSSH 9.0, speak. Version 3 with OpenSSH's
//! extensions as far as these two use them.

use std::path::PathBuf;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use russh::server::Msg;
use russh::{Channel, ChannelMsg};
use russh_sftp::protocol::{
    Attrs, Data, ExtendedReply, File, Handle, Name, Packet, Status, StatusCode, Version,
};
use russh_sftp::server::StatusReply;

use super::sftp_files::Files;

/// As OpenSSH's sftp-server: the longest packet, and the room in it for data.
const MAX_PACKET: usize = 256 * 1024;
const MAX_DATA: u32 = 255 * 1024;

/// Serves one channel to its end.
pub(super) async fn serve(channel: Channel<Msg>, root: PathBuf) {
    let (mut incoming, outgoing) = channel.split();
    let mut files = Files::new(root);
    let mut received = BytesMut::new();
    let mut code = 0;
    'channel: loop {
        loop {
            let request = match next_packet(&mut received) {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(TooLong) => {
                    code = 1;
                    break 'channel;
                }
            };
            // The file system may block, so its work is done off the runtime's own threads.
            let worked = tokio::task::spawn_blocking(move || {
                let reply = reply(&mut files, request);
                (files, reply)
            });
            let Ok((back, Some(reply))) = worked.await else {
                return;
            };
            files = back;
            if outgoing.data_bytes(reply).await.is_err() {
                return;
            }
        }
        match incoming.wait().await {
            Some(ChannelMsg::Data { data }) => received.extend_from_slice(&data),
            Some(ChannelMsg::Eof) => break,
            Some(ChannelMsg::Close) | None => return,
            Some(_) => {}
        }
    }
    // The status comes first, as with a process: the end of file may be answered with a close.
    // A failure to send means that the client is gone; there is nobody to tell.
    let _ = outgoing.exit_status(code).await;
    let _ = outgoing.eof().await;
    let _ = outgoing.close().await;
}

/// The client announced a packet that it may not send.
struct TooLong;

fn next_packet(received: &mut BytesMut) -> Result<Option<Bytes>, TooLong> {
    let Some(length) = received.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MAX_PACKET {
        return Err(TooLong);
    }
    if received.len() < 4 + length {
        return Ok(None);
    }
    received.advance(4);
    Ok(Some(received.split_to(length).freeze()))
}

/// The reply to one packet, ready to be sent; none only if it cannot be encoded.
fn reply(files: &mut Files, mut request: Bytes) -> Option<Bytes> {
    let reply = match Packet::try_from(&mut request) {
        Ok(packet) => {
            let id = packet.get_request_id();
            perform(files, id, packet).unwrap_or_else(|status| status_packet(id, status))
        }
        Err(_) => Packet::error(0, StatusCode::BadMessage),
    };
    Bytes::try_from(reply).ok()
}

fn perform(files: &mut Files, id: u32, packet: Packet) -> Result<Packet, StatusReply> {
    let done = |()| ok(id);
    match packet {
        Packet::Init(_) => Ok(version().into()),
        Packet::Open(open) => {
            let handle = files.open(&open.filename, open.pflags, &open.attrs)?;
            Ok(Handle { id, handle }.into())
        }
        Packet::OpenDir(open) => Ok(Handle { id, handle: files.open_dir(&open.path)? }.into()),
        Packet::Close(close) => files.close(&close.handle).map(done),
        Packet::Read(read) => {
            let data = files.read(&read.handle, read.offset, read.len.min(MAX_DATA))?;
            Ok(Data { id, data }.into())
        }
        Packet::Write(write) => files.write(&write.handle, write.offset, &write.data).map(done),
        Packet::ReadDir(read) => Ok(Name { id, files: files.read_dir(&read.handle)? }.into()),
        Packet::Stat(stat) => Ok(Attrs { id, attrs: files.stat(&stat.path)? }.into()),
        Packet::Lstat(stat) => Ok(Attrs { id, attrs: files.lstat(&stat.path)? }.into()),
        Packet::Fstat(stat) => Ok(Attrs { id, attrs: files.fstat(&stat.handle)? }.into()),
        Packet::SetStat(set) => files.set_stat(&set.path, &set.attrs).map(done),
        Packet::FSetStat(set) => files.fset_stat(&set.handle, &set.attrs).map(done),
        Packet::MkDir(make) => files.make_dir(&make.path, &make.attrs).map(done),
        Packet::RmDir(remove) => files.remove_dir(&remove.path).map(done),
        Packet::Remove(remove) => files.remove(&remove.filename).map(done),
        Packet::Rename(rename) => files.rename(&rename.oldpath, &rename.newpath).map(done),
        Packet::RealPath(real) => Ok(one_name(id, files.real_path(&real.path)?)),
        Packet::ReadLink(read) => Ok(one_name(id, files.read_link(&read.path)?)),
        // OpenSSH sends the target first, against the draft, and every server follows it.
        Packet::Symlink(link) => files.symlink(&link.linkpath, &link.targetpath).map(done),
        Packet::Extended(extended) => extension(files, id, &extended.request, &extended.data),
        _ => Err(StatusCode::BadMessage.into()),
    }
}

fn version() -> Version {
    let mut version = Version::new();
    for (name, revision) in [
        ("posix-rename@openssh.com", "1"),
        ("hardlink@openssh.com", "1"),
        ("fsync@openssh.com", "1"),
        ("limits@openssh.com", "1"),
        ("expand-path@openssh.com", "1"),
    ] {
        version.extensions.insert(name.to_owned(), revision.to_owned());
    }
    version
}

fn extension(
    files: &mut Files,
    id: u32,
    request: &str,
    mut data: &[u8],
) -> Result<Packet, StatusReply> {
    let mut text = || take_string(&mut data).ok_or(StatusCode::BadMessage);
    match request {
        "posix-rename@openssh.com" => {
            let (old, new) = (text()?, text()?);
            files.replace(&old, &new).map(|()| ok(id))
        }
        "hardlink@openssh.com" => {
            let (old, new) = (text()?, text()?);
            files.hard_link(&old, &new).map(|()| ok(id))
        }
        "fsync@openssh.com" => {
            let handle = text()?;
            files.sync(&handle).map(|()| ok(id))
        }
        "expand-path@openssh.com" => {
            let path = text()?;
            Ok(one_name(id, files.expand_path(&path)?))
        }
        "limits@openssh.com" => {
            let mut data = Vec::with_capacity(32);
            data.put_u64(MAX_PACKET as u64);
            data.put_u64(MAX_DATA.into());
            data.put_u64(MAX_DATA.into());
            data.put_u64(Files::MAX_OPEN as u64);
            Ok(ExtendedReply { id, data }.into())
        }
        _ => Err(StatusCode::OpUnsupported.into()),
    }
}

fn take_string(data: &mut &[u8]) -> Option<String> {
    let length = data.try_get_u32().ok()? as usize;
    let (text, rest) = data.split_at_checked(length)?;
    *data = rest;
    String::from_utf8(text.to_vec()).ok()
}

fn ok(id: u32) -> Packet {
    status_packet(id, StatusCode::Ok.into())
}

fn one_name(id: u32, path: String) -> Packet {
    // The draft requires attributes here, which no client reads.
    let mut file = File::dummy(path);
    file.longname.clone_from(&file.filename);
    Name { id, files: vec![file] }.into()
}

fn status_packet(id: u32, reply: StatusReply) -> Packet {
    let StatusReply { status_code, error_message, language_tag } = reply;
    let error_message = error_message.unwrap_or_else(|| status_code.to_string());
    let language_tag = language_tag.unwrap_or_else(|| "en".to_owned());
    Status { id, status_code, error_message, language_tag }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_only_when_they_are_whole() {
        let mut received = BytesMut::from(&b"\0\0\0\x02ab\0\0\0"[..]);
        assert_eq!(next_packet(&mut received).ok().flatten().as_deref(), Some(&b"ab"[..]));
        assert!(matches!(next_packet(&mut received), Ok(None)));
        received.extend_from_slice(b"\x01");
        assert!(matches!(next_packet(&mut received), Ok(None)));
        received.extend_from_slice(b"c");
        assert_eq!(next_packet(&mut received).ok().flatten().as_deref(), Some(&b"c"[..]));
    }

    #[test]
    fn a_packet_over_the_limit_is_refused_from_its_length() {
        let mut received = BytesMut::from(&b"\x7f\xff\xff\xff"[..]);
        assert!(next_packet(&mut received).is_err());
    }

    #[test]
    fn strings_of_extensions_are_checked_against_what_is_there() {
        let mut data = &b"\0\0\0\x01a\0\0\0\x09b"[..];
        assert_eq!(take_string(&mut data).as_deref(), Some("a"));
        assert_eq!(take_string(&mut data), None);
    }
}
