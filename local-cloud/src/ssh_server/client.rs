//! One connected client: authentication, and the requests on its channels.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};
use rustix::process::Signal;
use rustix::termios::Winsize;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::environment::{Origin, accepts_variable};
use super::process::{self, PtyRequest};
use super::registry::ProcessGroup;
use super::{Shared, forward, sftp};

/// A client that opens more session channels than this on one connection is refused the next.
const MAX_SESSIONS: usize = 100;

/// More variables than this are refused, so that they cannot fill the memory.
const MAX_VARIABLES: usize = 100;

/// The state of one connection. Its tasks, and with them its child processes, end when it is dropped.
pub(super) struct ClientHandler {
    shared: Arc<Shared>,
    origin: Origin,
    channels: HashMap<ChannelId, SessionChannel>,
    listeners: HashMap<(String, u32), AbortHandle>,
    tasks: JoinSet<()>,
}

/// A session channel is prepared by any number of requests, then started by one.
enum SessionChannel {
    Preparing(Prepared),
    Running { task: AbortHandle, group: Weak<ProcessGroup>, size: watch::Sender<Winsize> },
}

struct Prepared {
    channel: Channel<Msg>,
    variables: Vec<(String, String)>,
    pty: Option<PtyRequest>,
}

impl ClientHandler {
    pub(super) fn new(shared: Arc<Shared>, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            shared,
            origin: Origin { user: String::new(), peer, local },
            channels: HashMap::new(),
            listeners: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    fn check(&mut self, user: &str, key: &PublicKey) -> Auth {
        let known = &self.shared.authorized_keys;
        if known.iter().any(|known| known.key_data() == key.key_data()) {
            user.clone_into(&mut self.origin.user);
            Auth::Accept
        } else {
            Auth::reject()
        }
    }

    /// Forgets what has ended.
    fn tidy(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.channels.retain(|_, channel| match channel {
            SessionChannel::Preparing(_) => true,
            SessionChannel::Running { task, .. } => !task.is_finished(),
        });
    }

    /// Starts a command, or without one a login shell.
    fn start(
        &mut self,
        id: ChannelId,
        command: Option<&[u8]>,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(Prepared { channel, variables, pty }) = self.take_prepared(id) else {
            return session.channel_failure(id);
        };
        let shared = &self.shared;
        let command = shared.environment.command(command, &self.origin, &variables);
        match process::spawn(command, pty.as_ref(), &shared.registry) {
            Ok(process) => {
                session.channel_success(id)?;
                let (size, sizes) =
                    watch::channel(pty.map_or_else(PtyRequest::no_size, |pty| pty.size));
                let group = process.group();
                let task = self.tasks.spawn(process.run(channel, session.handle(), sizes));
                self.channels.insert(id, SessionChannel::Running { task, group, size });
                Ok(())
            }
            Err(_) => session.channel_failure(id),
        }
    }

    fn take_prepared(&mut self, id: ChannelId) -> Option<Prepared> {
        match self.channels.remove(&id)? {
            SessionChannel::Preparing(prepared) => Some(prepared),
            running => {
                self.channels.insert(id, running);
                None
            }
        }
    }
}

impl Handler for ClientHandler {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        if !self.shared.accept_none {
            return Ok(Auth::reject());
        }
        user.clone_into(&mut self.origin.user);
        Ok(Auth::Accept)
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.check(user, offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.check(user, key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.tidy();
        if self.channels.len() >= MAX_SESSIONS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        let prepared = Prepared { channel, variables: Vec::new(), pty: None };
        self.channels.insert(id, SessionChannel::Preparing(prepared));
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.tidy();
        self.tasks.spawn(forward::direct(channel, reply, host.to_owned(), port));
        Ok(())
    }

    async fn channel_close(
        &mut self,
        id: ChannelId,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        // The client closed first, so nobody is left to hear of the command's end.
        if let Some(SessionChannel::Running { task, .. }) = self.channels.remove(&id) {
            task.abort();
        }
        Ok(())
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&id) {
            Some(SessionChannel::Preparing(Prepared { variables, .. }))
                if accepts_variable(name)
                    && !value.contains('\0')
                    && variables.len() < MAX_VARIABLES =>
            {
                variables.push((name.to_owned(), value.to_owned()));
                session.channel_success(id)
            }
            _ => session.channel_failure(id),
        }
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        pixel_width: u32,
        pixel_height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&id) {
            Some(SessionChannel::Preparing(Prepared { pty, .. })) if !term.contains('\0') => {
                *pty = Some(PtyRequest {
                    term: term.to_owned(),
                    size: winsize(columns, rows, pixel_width, pixel_height),
                    modes: modes.to_vec(),
                });
                session.channel_success(id)
            }
            _ => session.channel_failure(id),
        }
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        pixel_width: u32,
        pixel_height: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(SessionChannel::Running { size, .. }) = self.channels.get(&id) {
            size.send_replace(winsize(columns, rows, pixel_width, pixel_height));
        }
        session.channel_success(id)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.start(id, None, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.start(id, Some(command), session)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name != "sftp" {
            return session.channel_failure(id);
        }
        let Some(Prepared { channel, .. }) = self.take_prepared(id) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let root = self.shared.environment.root().to_owned();
        let task = self.tasks.spawn(sftp::serve(channel, root));
        let (size, _) = watch::channel(PtyRequest::no_size());
        self.channels.insert(id, SessionChannel::Running { task, group: Weak::new(), size });
        Ok(())
    }

    async fn signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(SessionChannel::Running { group, .. }) = self.channels.get(&id)
            && let (Some(group), Some(signal)) = (group.upgrade(), number(&signal))
        {
            group.signal(signal);
        }
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        session: &mut Session,
    ) -> Result<bool, Self::Error> {
        self.tidy();
        let Some((listener, bound)) = forward::listen(address, *port).await else {
            return Ok(false);
        };
        *port = bound;
        let accepting = forward::accept(listener, address.to_owned(), bound, session.handle());
        let task = self.tasks.spawn(accepting);
        self.listeners.insert((address.to_owned(), bound), task);
        Ok(true)
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _session: &mut Session,
    ) -> Result<bool, Self::Error> {
        let Some(task) = self.listeners.remove(&(address.to_owned(), port)) else {
            return Ok(false);
        };
        task.abort();
        Ok(true)
    }
}

fn winsize(columns: u32, rows: u32, pixel_width: u32, pixel_height: u32) -> Winsize {
    let clamp = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    Winsize {
        ws_row: clamp(rows),
        ws_col: clamp(columns),
        ws_xpixel: clamp(pixel_width),
        ws_ypixel: clamp(pixel_height),
    }
}

fn number(signal: &Sig) -> Option<Signal> {
    Some(match signal {
        Sig::ABRT => Signal::ABORT,
        Sig::ALRM => Signal::ALARM,
        Sig::FPE => Signal::FPE,
        Sig::HUP => Signal::HUP,
        Sig::ILL => Signal::ILL,
        Sig::INT => Signal::INT,
        Sig::KILL => Signal::KILL,
        Sig::PIPE => Signal::PIPE,
        Sig::QUIT => Signal::QUIT,
        Sig::SEGV => Signal::SEGV,
        Sig::TERM => Signal::TERM,
        Sig::USR1 => Signal::USR1,
        Sig::Custom(name) if name == "USR2" => Signal::USR2,
        Sig::Custom(_) => return None,
    })
}
