//! The address of who asks.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The bits of an address of version 6 that a provider gives to one customer.
const CUSTOMER_BITS: u32 = 64;

/// The address at the other end of the connection that a request came by; a handler takes it as an extractor. Behind a
/// proxy it is that of the proxy: what a proxy says of its callers is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<IpAddr>);

impl Peer {
    /// Of a connection that the system says comes from this address. A socket that listens for IPv6, too, has other names for
    /// addresses of IPv4 (`::ffff:10.0.0.1`); each host has one name here.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self(Some(address.ip().to_canonical()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // What came by no connection has none.
        let peer = parts.extensions.get().copied();
        Ok(peer.unwrap_or(Self(None)))
    }
}

/// Whose connections and requests count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Whose(pub(crate) Option<IpAddr>);

impl From<Peer> for Whose {
    fn from(Peer(address): Peer) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(address) => {
                let customer = address.to_bits() >> CUSTOMER_BITS << CUSTOMER_BITS;
                IpAddr::V6(Ipv6Addr::from_bits(customer))
            }
            address => address,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_name_whatever_socket_it_comes_to() {
        let of = |address: &str| Peer::at(address.parse().unwrap());
        assert_eq!(of("[::ffff:10.0.0.1]:80"), of("10.0.0.1:81"));
        assert_ne!(of("[::1]:80"), of("127.0.0.1:80"));
        let v6 = "2001:db8::1".parse().unwrap();
        assert_eq!(of("[2001:db8::1]:80"), Peer(Some(v6)));
    }
}
