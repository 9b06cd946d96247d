//! Where a key may be used from: lists of CIDR ranges, and the client's address behind trusted proxies.

use std::net::IpAddr;

use ipnet::IpNet;

use super::names::TextError;

/// How many ranges a key may have.
pub const MOST_RANGES: usize = 50;

/// The ranges that a key may be used from; none means any address.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct IpRanges(Vec<IpNet>);

impl IpRanges {
    /// Reads ranges in CIDR notation, or single addresses, separated by white space or commas.
    ///
    /// # Errors
    /// Names the first that is none, one whose host bits are set, or more than 50.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        Self::from_list(text.split([',', ' ', '\n', '\r', '\t', ';']).filter(|part| !part.is_empty()))
    }

    /// Reads a list of ranges, each in CIDR notation or a single address.
    ///
    /// # Errors
    /// As [`IpRanges::parse`].
    pub fn from_list<'a>(list: impl Iterator<Item = &'a str>) -> Result<Self, TextError> {
        let mut ranges = Vec::new();
        for part in list {
            let range = read(part)?;
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        if ranges.len() > MOST_RANGES {
            return Err(TextError(format!("Enter {MOST_RANGES} ranges or fewer; these are {}.", ranges.len())));
        }
        Ok(Self(ranges))
    }

    /// Whether a client at `address` is let in. An unknown address is let in only where there are no ranges.
    pub fn allow(&self, address: Option<IpAddr>) -> bool {
        self.0.is_empty() || address.is_some_and(|address| contains(&self.0, address))
    }

    /// Each range as text.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Whether any address is let in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn read(part: &str) -> Result<IpNet, TextError> {
    if let Ok(address) = part.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let range: IpNet = part.parse().map_err(|_| TextError(format!("“{part}” is no range. Write it as 203.0.113.0/24 or 2001:db8::/32.")))?;
    if range.trunc() != range {
        return Err(TextError(format!("“{part}” has host bits set. Did you mean {}?", range.trunc())));
    }
    // ::ffff:a.b.c.d/96+n is an IPv4 range written the long way (RFC 4291 2.5.5.2).
    if let IpNet::V6(six) = range
        && six.prefix_len() >= 96
        && let Some(four) = six.network().to_ipv4_mapped()
        && let Ok(net) = ipnet::Ipv4Net::new(four, six.prefix_len() - 96)
    {
        return Ok(IpNet::V4(net));
    }
    Ok(range)
}

fn contains(ranges: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    ranges.iter().any(|range| range.contains(&address))
}

/// The client's address: `X-Forwarded-For` read from the right past the trusted proxies (if all are trusted, the leftmost),
/// and only if the TCP peer is one. An entry that cannot be read ends the search: unknown.
pub fn client_address<'a>(peer: IpAddr, forwarded_for: impl DoubleEndedIterator<Item = &'a str>, trusted: &[IpNet]) -> Option<IpAddr> {
    if !contains(trusted, peer) {
        return None;
    }
    let mut leftmost = None;
    for entry in forwarded_for.flat_map(|line| line.split(',')).rev() {
        let address = read_entry(entry.trim())?;
        if !contains(trusted, address) {
            return Some(address);
        }
        leftmost = Some(address);
    }
    leftmost
}

/// An entry of `X-Forwarded-For`: an address, or one with a port (`192.0.2.1:4711`, `[2001:db8::1]:4711`).
fn read_entry(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    bare.parse::<IpAddr>().or_else(|_| entry.parse::<std::net::SocketAddr>().map(|socket| socket.ip())).ok().map(|address| address.to_canonical())
}
