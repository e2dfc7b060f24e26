//! One netlink socket: a request, and its answers until the kernel says that it is done.

use std::fmt::Debug;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_send_buffer_size, set_socket_send_buffer_size_force};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// The kernel makes no message of a dump larger than 32 KiB.
const LARGEST_ANSWER: usize = 64 * 1_024;

/// For one answer; the kernel may have to wait for others who change its network.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a program lets wait in a socket unless it asks for more.
const USUAL_REQUEST: usize = 128 * 1_024;

pub struct Netlink {
    socket: TokioSocket,
    sequence_number: u32,
}

/// What can go wrong between the kernel and us; whoever asks knows what it means there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the kernel refused to {doing}")]
    Refused { doing: &'static str, source: io::Error },
    #[error("the list changed while it was read")]
    Torn,
    #[error("the kernel's answer makes no sense")]
    Undecodable(#[source] DecodeError),
    #[error("cannot talk to the kernel over netlink")]
    Unreachable(#[source] io::Error),
}

impl Error {
    pub fn is(&self, errno: Errno) -> bool {
        matches!(self, Self::Refused { source, .. } if Errno::from_io_error(source) == Some(errno))
    }
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open(protocol: isize) -> Result<Self, Error> {
        let mut socket = TokioSocket::new(protocol).map_err(Error::Unreachable)?;
        socket.socket_mut().bind_auto().map_err(Error::Unreachable)?;
        socket.socket_ref().connect(&SocketAddr::new(0, 0)).map_err(Error::Unreachable)?;
        Ok(Self { socket, sequence_number: 0 })
    }

    /// Asks for a change, and waits until it is made. `flags` beside request and acknowledgement.
    pub async fn change<M>(&mut self, doing: &'static str, message: M, flags: u16) -> Result<Vec<M>, Error>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Debug,
    {
        let mut answers = Vec::new();
        self.exchange(doing, vec![(message, flags | NLM_F_ACK)], |answer| answers.push(answer)).await?;
        Ok(answers)
    }

    /// # Errors
    /// [`Error::Torn`] when something changed meanwhile: the list may lack an entry or have one twice.
    pub async fn dump<M, A>(&mut self, doing: &'static str, message: M) -> Result<Vec<A>, Error>
    where
        M: NetlinkSerializable,
        A: NetlinkDeserializable + Debug,
    {
        let mut answers = Vec::new();
        self.exchange(doing, vec![(message, NLM_F_DUMP)], |answer| answers.push(answer)).await?;
        Ok(answers)
    }

    /// Several messages in one datagram, each with its flags; what is answered is handed over until one of them is
    /// acknowledged or refused, or a list is at its end.
    pub async fn exchange<M, A>(
        &mut self,
        doing: &'static str,
        messages: Vec<(M, u16)>,
        take: impl FnMut(A),
    ) -> Result<(), Error>
    where
        M: NetlinkSerializable,
        A: NetlinkDeserializable + Debug,
    {
        let sequence_numbers = self.send(messages).await?;
        let mut answers = Answers { take, torn: false, done: false };
        // Answers of WireGuard have its private key in them, and those of peers their preshared keys.
        let mut buffer = Zeroizing::new(Vec::with_capacity(LARGEST_ANSWER));
        while !answers.done {
            buffer.clear();
            let received = timeout(PATIENCE, self.socket.recv(&mut *buffer)).await;
            let received = received.map_err(|_| Error::Unreachable(io::ErrorKind::TimedOut.into()))?;
            received.map_err(|source| Error::Refused { doing, source })?;
            answers.read(doing, &buffer, &sequence_numbers)?;
        }
        if answers.torn { Err(Error::Torn) } else { Ok(()) }
    }

    async fn send<M: NetlinkSerializable>(&mut self, messages: Vec<(M, u16)>) -> Result<RangeInclusive<u32>, Error> {
        let first = self.sequence_number.wrapping_add(1);
        let mut packets = Vec::with_capacity(messages.len());
        for (message, flags) in messages {
            self.sequence_number = self.sequence_number.wrapping_add(1);
            let mut packet = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
            packet.header.flags = NLM_F_REQUEST | flags;
            packet.header.sequence_number = self.sequence_number;
            packet.finalize();
            packets.push(packet);
        }
        let size = packets.iter().map(NetlinkMessage::buffer_len).sum();
        let mut buffer = Zeroizing::new(vec![0; size]);
        let mut rest = buffer.as_mut_slice();
        for packet in &packets {
            let (place, others) = rest.split_at_mut(packet.buffer_len());
            packet.serialize(place);
            rest = others;
        }
        self.make_room_for(size);
        self.socket.send(&buffer).await.map_err(Error::Unreachable)?;
        Ok(first..=self.sequence_number)
    }

    /// Where that cannot be, sending fails and says so.
    fn make_room_for(&self, size: usize) {
        if size > USUAL_REQUEST {
            let socket = self.socket.socket_ref();
            // The first needs a capability of the whole machine, the second stays below a limit of it.
            let _ = set_socket_send_buffer_size_force(socket, 2 * size)
                .or_else(|_| set_socket_send_buffer_size(socket, 2 * size));
        }
    }
}

/// How far the answers have come, and who takes them.
struct Answers<T> {
    take: T,
    torn: bool,
    done: bool,
}

impl<T> Answers<T> {
    /// Reads the messages of one datagram.
    fn read<A>(&mut self, doing: &'static str, mut datagram: &[u8], asked: &RangeInclusive<u32>) -> Result<(), Error>
    where
        A: NetlinkDeserializable + Debug,
        T: FnMut(A),
    {
        while !datagram.is_empty() {
            let message = NetlinkMessage::<A>::deserialize(datagram).map_err(Error::Undecodable)?;
            let length = message.header.length.next_multiple_of(4) as usize;
            datagram = datagram.get(length..).unwrap_or_default();
            if asked.contains(&message.header.sequence_number) {
                self.take(doing, message)?;
            }
        }
        Ok(())
    }

    fn take<A: Debug>(&mut self, doing: &'static str, message: NetlinkMessage<A>) -> Result<(), Error>
    where
        T: FnMut(A),
    {
        self.torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => (self.take)(inner),
            NetlinkPayload::Error(error) if error.code.is_some() => {
                return Err(Error::Refused { doing, source: error.to_io() });
            }
            NetlinkPayload::Done(done) if done.code < 0 => {
                let source = io::Error::from_raw_os_error(done.code.saturating_neg());
                return Err(Error::Refused { doing, source });
            }
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => self.done = true,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DoneMessage;
    use netlink_packet_route::RouteNetlinkMessage;

    use super::*;

    fn read(flags: u16) -> Answers<impl FnMut(RouteNetlinkMessage)> {
        let done = NetlinkPayload::Done(DoneMessage::default());
        let mut message = NetlinkMessage::<RouteNetlinkMessage>::new(NetlinkHeader::default(), done);
        message.header.flags = flags;
        message.finalize();
        let mut datagram = vec![0; message.buffer_len()];
        message.serialize(&mut datagram);
        let mut answers = Answers { take: drop, torn: false, done: false };
        answers.read("test", &datagram, &(0..=0)).unwrap();
        answers
    }

    #[test]
    fn a_list_that_changed_while_it_was_read_is_torn() {
        let (whole, torn) = (read(0), read(NLM_F_DUMP_INTR));
        assert!(whole.done && !whole.torn);
        assert!(torn.done && torn.torn);
    }
}
