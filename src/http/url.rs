//! The address of the server, and the credentials that may stand in it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use base64::prelude::{BASE64_STANDARD, Engine};
use percent_encoding::percent_decode_str;

const NO_TLS: &str = "https:// needs a build that speaks TLS: a released program, or in the sources \
    cargo install --locked --path . --features tls";
const STRAY_AT: &str =
    "an @ stands behind its host (in a password a / is %2F, in a path an @ is %40)";

/// Where `ComfyUI` answers: scheme, host, port and a path prefix. `Display` and `Debug` show no
/// credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    base: String,
    host: String,
    port: u16,
    authorization: Option<String>,
}

impl ServerUrl {
    /// Reads `[http://][user:password@]host[:port][/prefix]`. Without a scheme it is `http`, without
    /// a port the scheme's (80, 443). User and password are percent-decoded.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence, without any part of the text: it may hold a
    /// password. `https` is refused unless the program was built with its feature `tls`.
    pub fn parse(text: &str) -> Result<ServerUrl, &'static str> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some(parts) => parts,
            // `http:/host`: not a host called http with an empty port.
            None if text.split_once('/').is_some_and(|(host, _)| host.ends_with(':')) => {
                return Err("two slashes follow its scheme");
            }
            None => ("http", text),
        };
        let (scheme, usual_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => ("http", 80),
            "https" if cfg!(feature = "tls") => ("https", 443),
            "https" => return Err(NO_TLS),
            _ => return Err("its scheme is not http"),
        };
        if rest.contains(|c: char| !c.is_ascii_graphic()) {
            return Err("it has a space or a character that a URL writes with %");
        }
        if rest.contains(['?', '#']) {
            return Err(
                "a base URL has no ? and no # (a token goes into a file: --header-file FILE)",
            );
        }
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // A password with a slash in it, or a scheme written twice: it would be shown.
        if prefix.contains('@') {
            return Err(STRAY_AT);
        }
        let (credentials, address) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(credentials, address)| (Some(credentials), address));
        let authorization = credentials.map(basic).transpose()?;
        let (host, port) = split_address(address)?;
        let port = match port {
            "" => usual_port,
            digits => Some(digits)
                .filter(|digits| digits.chars().all(|c| c.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .filter(|port| *port != 0)
                .ok_or("its port is not a number from 1 to 65535")?,
        };
        let shown_host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let shown_port = if port == usual_port { String::new() } else { format!(":{port}") };
        let prefix = prefix.trim_end_matches('/');
        let base = format!("{scheme}://{shown_host}{shown_port}{prefix}");
        Ok(ServerUrl { base, host, port, authorization })
    }

    /// The URL without credentials and without a slash at its end; a path that begins with a slash
    /// is appended to it.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The value of the `Authorization` header (`Basic …`), if the URL had credentials. A secret.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// The host in small letters; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: the scheme's own where the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the server is on this machine by its name: `localhost`, `127.x.x.x` or `::1`.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback())
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({})", self.base)
    }
}

/// The host, checked, and the text of the port.
fn split_address(address: &str) -> Result<(String, &str), &'static str> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("its [ has no ]")?;
        let host: Ipv6Addr = host.parse().map_err(|_| "its host is not an IPv6 address")?;
        let digits = port.strip_prefix(':').or(port.is_empty().then_some(port));
        return Ok((host.to_string(), digits.ok_or("its port does not follow a colon")?));
    }
    let (host, port) = address.split_once(':').unwrap_or((address, ""));
    let named = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if host.is_empty() {
        Err("it has no host")
    } else if !named {
        Err("its host has a character that no host has")
    } else if port.contains(':') {
        Err("it has two ports, or an IPv6 address without brackets")
    } else {
        Ok((host.to_ascii_lowercase(), port))
    }
}

fn basic(credentials: &str) -> Result<String, &'static str> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let mut bytes = percent_decoded(user)?;
    bytes.push(b':');
    bytes.extend(percent_decoded(password)?);
    Ok(format!("Basic {}", BASE64_STANDARD.encode(bytes)))
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, &'static str> {
    let is_hex =
        |part: &str| part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(is_hex) {
        return Err("a % of its user or password is not followed by two hex digits");
    }
    Ok(percent_decode_str(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses() {
        let cases = [
            ("http://127.0.0.1:8188", "http://127.0.0.1:8188", "127.0.0.1", 8188, true),
            ("127.0.0.1:8188", "http://127.0.0.1:8188", "127.0.0.1", 8188, true),
            (" HTTP://LocalHost:8188/ ", "http://localhost:8188", "localhost", 8188, true),
            ("http://host/comfy//", "http://host/comfy", "host", 80, false),
            ("http://host:80/a/b", "http://host/a/b", "host", 80, false),
            ("host:", "http://host", "host", 80, false),
            ("[::1]:8188", "http://[::1]:8188", "::1", 8188, true),
            ("http://[2001:DB8::1]", "http://[2001:db8::1]", "2001:db8::1", 80, false),
            ("http://gpu_1.lan:8188", "http://gpu_1.lan:8188", "gpu_1.lan", 8188, false),
            ("http://127.evil.example", "http://127.evil.example", "127.evil.example", 80, false),
        ];
        for (text, base, host, port, loopback) in cases {
            let url = ServerUrl::parse(text).expect(text);
            assert_eq!((url.base(), url.host(), url.port()), (base, host, port));
            assert_eq!((url.is_loopback(), url.authorization()), (loopback, None), "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let cases = [
            ("http://user:password@host", "Basic dXNlcjpwYXNzd29yZA=="),
            ("user:p%40ss%3aw@host", "Basic dXNlcjpwQHNzOnc="),
            ("http://us@er:x@host", "Basic dXNAZXI6eA=="),
            ("http://user@host", "Basic dXNlcjo="),
        ];
        for (text, header) in cases {
            let url = ServerUrl::parse(text).expect(text);
            assert_eq!(url.authorization(), Some(header));
            assert_eq!(format!("{url} {url:?}"), "http://host ServerUrl(http://host)");
        }
    }

    #[test]
    fn refusals() {
        const BEHIND: &str =
            "an @ stands behind its host (in a password a / is %2F, in a path an @ is %40)";
        let cases = [
            ("", "it has no host"),
            ("http://", "it has no host"),
            ("ftp://host", "its scheme is not http"),
            ("http://ho st", "it has a space or a character that a URL writes with %"),
            ("http://höst", "it has a space or a character that a URL writes with %"),
            (
                "http://host/?x",
                "a base URL has no ? and no # (a token goes into a file: --header-file FILE)",
            ),
            ("http://http://user:password@host", BEHIND),
            ("http://user:80/word@host", BEHIND),
            ("http://user:pass/word@host", BEHIND),
            ("http://host:0", "its port is not a number from 1 to 65535"),
            ("http://host:+80", "its port is not a number from 1 to 65535"),
            ("http://host:65536", "its port is not a number from 1 to 65535"),
            ("http://a%zz@host", "a % of its user or password is not followed by two hex digits"),
            ("http://a%4", "its host has a character that no host has"),
            ("::1", "it has no host"),
            ("fe80::1", "it has two ports, or an IPv6 address without brackets"),
            ("http://[::1", "its [ has no ]"),
            ("http://[x]", "its host is not an IPv6 address"),
            ("http://[::1]80", "its port does not follow a colon"),
        ];
        for (text, why) in cases {
            assert_eq!(ServerUrl::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn https_is_a_matter_of_the_build() {
        let url = ServerUrl::parse("https://host:443/x");
        if cfg!(feature = "tls") {
            assert_eq!(url.map(|url| url.base().to_owned()), Ok("https://host/x".to_owned()));
        } else {
            let why = NO_TLS;
            assert_eq!(url, Err(why));
        }
    }

    proptest! {
        #[test]
        fn percent_decoding_undoes_encoding(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
            prop_assert_eq!(percent_decoded(&encoded), Ok(bytes));
        }

        #[test]
        fn a_base_url_reads_as_itself(text in "(http://)?[a-z0-9.]{1,9}(:[1-9][0-9]{0,3})?(/[a-z/]{0,6})?") {
            let url = ServerUrl::parse(&text).expect("a good URL");
            prop_assert_eq!(ServerUrl::parse(url.base()), Ok(url.clone()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,30}") {
            let _ = ServerUrl::parse(&text);
        }
    }
}
