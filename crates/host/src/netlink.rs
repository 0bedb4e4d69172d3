//! One request over rtnetlink, for messages that the rtnetlink crate has no call for.

use crate::Links;
use futures_util::StreamExt;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use std::io;

impl Links {
    /// Sends `message` and answers what the kernel answered, up to its acknowledgement.
    pub(crate) fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.clone().request(request).map_err(|_| closed())?;
        self.runtime.block_on(async {
            let mut messages = Vec::new();
            while let Some(answer) = answers.next().await {
                let payload = answer.payload;
                if let NetlinkPayload::InnerMessage(message) = payload {
                    messages.push(message);
                } else if let NetlinkPayload::Error(error) = payload {
                    let Some(code) = error.code else { break };
                    return Err(io::Error::from_raw_os_error(code.get().abs()));
                } else if let NetlinkPayload::Overrun(_) = payload {
                    return Err(io::Error::from_raw_os_error(nix::libc::ENOBUFS));
                }
            }
            Ok(messages)
        })
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the netlink socket is closed")
}
