//! One netlink socket: a request, and its answers until the kernel says that it is done.

use std::fmt::Debug;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use zeroize::Zeroizing;

use super::error::Error;

/// The kernel makes no message of a dump larger than 32 KiB.
const LARGEST_ANSWER: usize = 64 * 1_024;

pub struct Netlink {
    socket: TokioSocket,
    sequence_number: u32,
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open(protocol: isize) -> Result<Self, Error> {
        let unreachable = |source| Error::Unreachable("the kernel over netlink", source);
        let mut socket = TokioSocket::new(protocol).map_err(unreachable)?;
        socket.socket_mut().bind_auto().map_err(unreachable)?;
        socket.socket_ref().connect(&SocketAddr::new(0, 0)).map_err(unreachable)?;
        Ok(Self { socket, sequence_number: 0 })
    }

    /// Asks for a change, and waits until it is made. `flags` beside request and acknowledgement.
    pub async fn change<M>(&mut self, doing: &'static str, message: M, flags: u16) -> Result<Vec<M>, Error>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Debug,
    {
        self.exchange(doing, message, flags | NLM_F_ACK).await
    }

    /// # Errors
    /// [`Error::Torn`] when something changed meanwhile: the list may lack an entry or have one twice.
    pub async fn dump<M>(&mut self, doing: &'static str, message: M) -> Result<Vec<M>, Error>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Debug,
    {
        self.exchange(doing, message, NLM_F_DUMP).await
    }

    async fn exchange<M>(&mut self, doing: &'static str, message: M, flags: u16) -> Result<Vec<M>, Error>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Debug,
    {
        self.send(message, flags).await?;
        let mut answers = Answers { messages: Vec::new(), torn: false, done: false };
        // Answers of WireGuard have its private key in them, and those of peers their preshared keys.
        let mut buffer = Zeroizing::new(Vec::with_capacity(LARGEST_ANSWER));
        while !answers.done {
            buffer.clear();
            self.socket.recv(&mut *buffer).await.map_err(|source| Error::refused(doing, source))?;
            answers.read(doing, &buffer, self.sequence_number)?;
        }
        if answers.torn { Err(Error::Torn) } else { Ok(answers.messages) }
    }

    async fn send<M: NetlinkSerializable>(&mut self, message: M, flags: u16) -> Result<(), Error> {
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let mut packet = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
        packet.header.flags = NLM_F_REQUEST | flags;
        packet.header.sequence_number = self.sequence_number;
        packet.finalize();
        let mut buffer = Zeroizing::new(vec![0; packet.buffer_len()]);
        packet.serialize(&mut buffer);
        let sent = self.socket.send(&buffer).await;
        sent.map(drop).map_err(|source| Error::Unreachable("the kernel over netlink", source))
    }
}

/// What came so far.
struct Answers<M> {
    messages: Vec<M>,
    torn: bool,
    done: bool,
}

impl<M: NetlinkDeserializable + Debug> Answers<M> {
    /// Reads the messages of one datagram.
    fn read(&mut self, doing: &'static str, mut datagram: &[u8], sequence_number: u32) -> Result<(), Error> {
        while !datagram.is_empty() {
            let message = NetlinkMessage::<M>::deserialize(datagram).map_err(Error::Undecodable)?;
            let length = message.header.length.next_multiple_of(4) as usize;
            datagram = datagram.get(length..).unwrap_or_default();
            if message.header.sequence_number == sequence_number {
                self.take(doing, message)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, doing: &'static str, message: NetlinkMessage<M>) -> Result<(), Error> {
        self.torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => self.messages.push(inner),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(Error::refused(doing, error.to_io())),
            NetlinkPayload::Done(done) if done.code < 0 => {
                return Err(Error::refused(doing, std::io::Error::from_raw_os_error(done.code.saturating_neg())));
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

    fn read(flags: u16) -> Answers<RouteNetlinkMessage> {
        let done = NetlinkPayload::Done(DoneMessage::default());
        let mut message = NetlinkMessage::<RouteNetlinkMessage>::new(NetlinkHeader::default(), done);
        message.header.flags = flags;
        message.finalize();
        let mut datagram = vec![0; message.buffer_len()];
        message.serialize(&mut datagram);
        let mut answers = Answers { messages: Vec::new(), torn: false, done: false };
        answers.read("test", &datagram, 0).unwrap();
        answers
    }

    #[test]
    fn a_list_that_changed_while_it_was_read_is_torn() {
        let (whole, torn) = (read(0), read(NLM_F_DUMP_INTR));
        assert!(whole.done && !whole.torn);
        assert!(torn.done && torn.torn);
    }
}
