//! A client that does what a browser does with cookies and forms, and shows everything it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, redirect};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One browser: its cookies, and the service it talks to.
#[derive(Clone, Debug)]
pub struct Browser {
    http: Client,
    address: SocketAddr,
    /// Cookies by name.
    pub cookies: BTreeMap<String, String>,
    /// Headers that go with every request.
    pub headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, each line of its own.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Where it sends to.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_default()
    }

    /// The `Set-Cookie` lines, one by one.
    pub fn set_cookies(&self) -> Vec<String> {
        self.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.body))
    }

    /// The value of the hidden field `csrf_token` of the page.
    pub fn csrf_token(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"csrf_token\" value=\"").expect("a form with a token");
        rest.split('"').next().unwrap().to_owned()
    }

    /// Everything that may tell one case from another, without what differs each time by design.
    pub fn comparable(&self) -> String {
        let masked = ["date", "x-request-id", "content-length"];
        let mut lines: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| !masked.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        let mut text = format!("{}\n{}\n\n{}", self.status, lines.join("\n"), self.body);
        for (before, after) in
            [("nonce=\"", "\""), ("'nonce-", "'"), ("name=\"csrf_token\" value=\"", "\""), ("iam_pre=", ";")]
        {
            text = mask(&text, before, after);
        }
        if let Some(id) = self.header("x-request-id") {
            text = text.replace(id, "*");
        }
        text
    }
}

fn mask(text: &str, before: &str, after: &str) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap().to_owned();
    for part in parts {
        let (_, rest) = part.split_once(after).unwrap_or(("", part));
        masked.push_str(before);
        masked.push('*');
        masked.push_str(after);
        masked.push_str(rest);
    }
    masked
}

impl Browser {
    /// A new browser without cookies.
    pub fn new(address: SocketAddr) -> Self {
        let http = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        Self { http, address, cookies: BTreeMap::new(), headers: Vec::new() }
    }

    /// The origin of its pages.
    pub fn origin(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// With a header on every request.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends anything.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        self.try_send(method, path, headers, body).await.expect("an answer")
    }

    /// The same, to a service that may be gone: nothing, when there was no whole answer.
    pub async fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<Answer> {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), url).body(body);
        let mut all = HeaderMap::new();
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            all.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        if !self.cookies.is_empty() && !all.contains_key("cookie") {
            let line: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            all.append("cookie", line.join("; ").parse().unwrap());
        }
        request = request.headers(all);
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, body: response.text().await.ok()? };
        self.keep_cookies(&answer);
        Some(answer)
    }

    /// Sends a target as it is, which no proper client would, and gives the status and the body.
    pub async fn send_raw(&self, method: &str, target: &str) -> (u16, String) {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost:{}\r\ncookie: {}\r\nconnection: close\r\n\r\n",
            self.address.port(),
            cookies.join("; ")
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0), body.to_owned())
    }

    /// Sends a form in chunks, of which nobody says how long they are together; gives the status and what is there of the answer.
    pub async fn send_chunked(&self, path: &str, headers: &[(&str, &str)], form: &str) -> (u16, String) {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost:{}\r\ncookie: {}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
             content-type: application/x-www-form-urlencoded\r\n",
            self.address.port(),
            cookies.join("; ")
        );
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        for chunk in form.as_bytes().chunks(1000) {
            let chunk = std::str::from_utf8(chunk).unwrap();
            request.extend([&format!("{:x}", chunk.len()), "\r\n", chunk, "\r\n"]);
        }
        request.push_str("0\r\n\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0), body.to_owned())
    }

    /// Asks for a connection, by a `GET` with these headers and no others; gives the status and what is there of the answer. No proper
    /// client lets one see that much of it.
    pub async fn handshake(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: localhost:{}\r\n", self.address.port());
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request.extend(["cookie: ", &cookies.join("; "), "\r\n"]);
        }
        request.push_str("\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        // Whole in a piece or two; the connection may stay open.
        loop {
            let read = stream.read(&mut piece).await.unwrap();
            answer.extend_from_slice(&piece[..read]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                assert!(read > 0, "no answer: {text}");
                continue;
            };
            let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if read == 0 || status == 101 || length.is_some_and(|length| body.len() >= length) {
                return (status, body.to_owned());
            }
        }
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for line in answer.set_cookies() {
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Opens a page.
    pub async fn open(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[("accept", "text/html")], Vec::new()).await
    }

    /// Asks as a program does.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], Vec::new()).await
    }

    /// Sends a form as a browser does.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = self.origin();
        self.submit_with(path, fields, &[("origin", origin.as_str()), ("accept", "text/html")]).await
    }

    /// Sends a form with these headers alone.
    pub async fn submit_with(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let encode = |text: &str| -> String {
            text.bytes()
                .map(
                    |b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") },
                )
                .collect()
        };
        let body: Vec<_> = fields.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.send("POST", path, &all, body.join("&").into_bytes()).await
    }

    /// Sends JSON as a page's script does.
    pub async fn post_json(&mut self, path: &str, body: &Value) -> Answer {
        let origin = self.origin();
        let headers = [("content-type", "application/json"), ("origin", origin.as_str())];
        self.send("POST", path, &headers, body.to_string().into_bytes()).await
    }

    /// Signs in by the page; gives the answer to the form.
    pub async fn sign_in(&mut self, username: &str, password: &str) -> Answer {
        let page = self.open("/auth/login").await;
        let token = page.csrf_token();
        let fields = [("username", username), ("password", password), ("csrf_token", &token)];
        self.submit("/auth/login", &fields).await
    }

    /// Signs in by JSON; gives the answer.
    pub async fn api_sign_in(&mut self, username: &str, password: &str) -> Answer {
        self.post_json("/api/v1/auth/login", &serde_json::json!({"username": username, "password": password}))
            .await
    }

    /// The session cookie.
    pub fn session_cookie(&self) -> Option<&str> {
        self.cookies.get("iam_session").map(String::as_str)
    }
}
