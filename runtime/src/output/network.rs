//! Addresses of networks as text, written as the C library writes them.

use std::net::{Ipv4Addr, Ipv6Addr};

use memql_compiler::types::AF_INET6;

/// An address of this family, of which the first 4 or all 16 bytes count.
pub(super) fn address(family: u32, bytes: [u8; 16]) -> String {
    let [a, b, c, d, ..] = bytes;
    if family != AF_INET6 {
        return Ipv4Addr::new(a, b, c, d).to_string();
    }
    let v6 = Ipv6Addr::from(bytes);
    let [w, x, y, z] = [bytes[12], bytes[13], bytes[14], bytes[15]];
    match v6.segments() {
        // An IPv4 address in the lower half shows as one.
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => format!("::{}", Ipv4Addr::new(w, x, y, z)),
        _ => v6.to_string(),
    }
}

/// An Ethernet address: `18:C0:4D:08:2E:BB`.
pub(super) fn mac(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|b| format!("{b:02X}")).collect();
    digits.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(text: &str) -> String {
        let bytes = text.parse::<Ipv6Addr>().expect("an address").octets();
        address(AF_INET6, bytes)
    }

    #[test]
    fn addresses_are_written_as_the_c_library_does() {
        assert_eq!(v6("::"), "::");
        assert_eq!(v6("::1"), "::1");
        assert_eq!(v6("::1.2.3.4"), "::1.2.3.4");
        assert_eq!(v6("::ffff:1.2.3.4"), "::ffff:1.2.3.4");
        assert_eq!(v6("fe80::1:0:0:2"), "fe80::1:0:0:2");
        assert_eq!(mac(&[0x18, 0xc0, 0, 8, 0x2e, 0xbb]), "18:C0:00:08:2E:BB");
    }
}
