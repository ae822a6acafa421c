//! One connection that is set up, plain or encrypted.
//! Owns its bytes, its slot and its end.
//! Promises that it is cut off at its end, when it is evicted, or when its client takes nothing, whatever
//! HTTP/2 waits for.
//! Must never free its slot before it is closed.

use super::{
    admission::{ConnectionSlot, SlotGuard},
    stall::Writes,
};
use crate::callers::certificate_name::CertificateName;
use rustls::pki_types::CertificateDer;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// The client of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The names in its certificate. There are none without a certificate.
    pub names: Arc<[CertificateName]>,
    /// The slot of the connection, which counts its calls.
    pub slot: Arc<ConnectionSlot>,
}

/// A connection whose handshake is done and whose preface is read.
pub(crate) struct Connection {
    pub(super) peer: Peer,
    pub(super) transport: Transport,
    /// What the server has yet to read of the preface, which is read from the transport already.
    pub(super) unread_preface: &'static [u8],
    pub(super) writes: Writes,
    /// When it is cut off. Its client was told to end it a grace period before.
    pub(super) end: Pin<Box<Sleep>>,
    #[expect(dead_code, reason = "it frees the slot when it is dropped")]
    pub(super) slot_guard: SlotGuard,
}

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// The names in the client's certificate, which the handshake has verified.
    pub(super) fn client_names(&self) -> Vec<CertificateName> {
        let own = self.client_certificate();
        own.map_or_else(Vec::new, |certificate| {
            CertificateName::read_all(certificate)
        })
    }

    pub(super) fn has_client_certificate(&self) -> bool {
        self.client_certificate().is_some()
    }

    fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.peer_certificates()?.first(),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl Connection {
    fn check_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.peer.slot.poll_evicted(context).is_ready() {
            return Err(io::Error::other("the connection is evicted"));
        }
        match self.end.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the connection is older than its age and grace",
            )),
        }
    }

    /// Whoever waits for a client that takes no bytes waits no longer than until the end, or than a
    /// write may be stalled. After an error or a close, HTTP/2 reads and writes no more, and only
    /// flushes and shuts down.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            self.check_end(context)?;
            if let Poll::Ready(too_long) = self.writes.poll_stalled(context) {
                self.peer.slot.close_for_untaken_answer();
                return Poll::Ready(Err(too_long));
            }
        } else {
            self.writes.go_on();
        }
        polled
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_end(context)?;
        if !self.unread_preface.is_empty() {
            let length = self.unread_preface.len().min(buffer.remaining());
            let (now, later) = self.unread_preface.split_at(length);
            buffer.put_slice(now);
            self.unread_preface = later;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.transport).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_end(context)?;
        let written = Pin::new(&mut self.transport).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_end(context)?;
        let written = Pin::new(&mut self.transport).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.transport).poll_flush(context);
        self.written(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.transport).poll_shutdown(context);
        self.written(context, shut_down)
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
