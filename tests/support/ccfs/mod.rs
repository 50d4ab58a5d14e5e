//! A CC-FS of our own on 127.0.0.1: it verifies every signature with its own implementation, knows
//! several accounts, and answers what a test has scripted, right or wrong.
//!
//! ```ignore
//! let ccfs = Simulator::start().await;
//! ccfs.script("1777093663-792075", [Reply::not_found(), Reply::wav(64 << 10)]); // the last repeats
//! // … the worker runs against ccfs.url() with ccfs.access_key(), ccfs.secret_key() …
//! assert_eq!(object.sha256, ccfs.expected("1777093663-792075").sha256());
//! assert_eq!(ccfs.requests_for("1777093663-792075").len(), 2);
//! ```
//!
//! A name that no test has scripted is answered as it asks itself ([`by_name`]), else with the
//! default, a WAV of 64 KiB.
//!
//! What it has in its index is another thing, and said apart ([`Simulator::knows`]): an index is made
//! of it for whoever orders one, however many rows there are.
#![allow(
    unused_imports,
    clippy::allow_attributes,
    reason = "shared by several crates, none uses all"
)]

mod index;
mod package;
mod recording;
mod reply;
mod row;
mod state;
pub mod tls;
mod verify;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use index::Index;
use package::Rows;
use state::{Shared, State, lock};
use tls::{Tls, tls};

pub use index::{Fault, Order};
pub use package::Packages;
pub use recording::{Codec, Content, Recording, Sizes, ZipFault};
pub use reply::{Framing, OCTETS, Reply, by_name};
pub use row::IndexRow;
pub use state::{Limit, Seen};
pub use tls::Certificate;
pub use verify::{Asked, Asks, Denied, Raw, read, sign};

/// Where recordings are had.
pub const PATH: &str = "/CCFS/resource/ccfs/downloadRecord";

/// Where an index is ordered, and had.
pub const QUERY_BILL_DATA: &str = "/CCFS/resource/ccfs/queryBillData";
pub const DOWNLOAD_BILL_FILE: &str = "/CCFS/resource/ccfs/downloadBillFile";

/// The simulator; it stops when it is dropped.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Option<Tls>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl Simulator {
    /// The account that is there from the start.
    pub const ACCESS_KEY: &str = "95329b7d6487512a7eff0e4955f2d318";
    /// With the signs that percent-encoding and shells trip over.
    pub const SECRET_KEY: &str = "y0dD%EJSf^7saBMq=*/+";

    /// Plain HTTP on a port of its own.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0", None).await
    }

    /// HTTPS for `localhost`, `127.0.0.1` and `ccfs`, under a CA of its own ([`Self::ca_file`]).
    pub async fn start_tls() -> Self {
        Self::start_tls_with(Certificate::UnderCa).await
    }

    /// The same with another certificate.
    pub async fn start_tls_with(certificate: Certificate) -> Self {
        Self::start_at("127.0.0.1:0", Some(tls(certificate))).await
    }

    /// Plain HTTP on a port that the caller chose.
    pub async fn start_on(port: u16) -> Self {
        Self::start_at(("127.0.0.1", port), None).await
    }

    /// HTTPS on an address that the caller chose.
    pub async fn start_tls_on(address: SocketAddr) -> Self {
        Self::start_at(address, Some(tls(Certificate::UnderCa))).await
    }

    async fn start_at(address: impl ToSocketAddrs, tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port of this machine");
        let address = listener.local_addr().expect("a bound listener has an address");
        let simulator = Self { shared: Arc::default(), address, tls, serving: Mutex::default() };
        simulator.accept(listener);
        simulator
    }

    fn accept(&self, listener: TcpListener) {
        let acceptor = self.tls.as_ref().map(|tls| tls.acceptor.clone());
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&self.shared)));
        *lock(&self.serving) = Some(task);
    }

    /// Refuses connections and cuts those that are open, until [`Self::up`].
    pub async fn down(&self) {
        let serving = lock(&self.serving).take();
        if let Some(serving) = serving {
            serving.abort();
            // Only once it has ended are the listener and the connections gone.
            let _ = serving.await;
        }
    }

    /// Accepts again, on the same port.
    pub async fn up(&self) {
        let limit = Duration::from_secs(10);
        let bind = || async { TcpListener::bind(self.address).await.ok() };
        let listener = super::eventually("the port is free again", limit, bind).await;
        self.accept(listener);
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    pub fn url(&self) -> String {
        match self.tls {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The CA in PEM form, while the simulator lives; with TLS only.
    pub fn ca_file(&self) -> PathBuf {
        self.tls.as_ref().expect("the simulator has TLS").folder.path().join("ca.pem")
    }

    /// Adds an account, or gives it another secret.
    pub fn account(&self, access_key: &str, secret_key: &str) {
        self.state().accounts.insert(access_key.to_owned(), secret_key.to_owned());
    }

    /// What a callId or fileName is answered: one reply a request, the last one repeats. A request
    /// with both names is answered by the callId's script, else by the fileName's.
    pub fn script(&self, name: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies: VecDeque<_> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "a script has a reply");
        self.state().scripts.insert(name.to_owned(), replies);
    }

    /// As [`Self::script`], for a recording that only `access_key` sees; others get 0300012.
    pub fn script_for(
        &self,
        access_key: &str,
        name: &str,
        replies: impl IntoIterator<Item = Reply>,
    ) {
        self.state().owners.insert(name.to_owned(), access_key.to_owned());
        self.script(name, replies);
    }

    /// What every name is answered that has no script and asks for nothing itself.
    pub fn default_reply(&self, reply: Reply) {
        self.state().default = reply;
    }

    /// The account's index has these rows, besides those that it has.
    pub fn knows(&self, access_key: &str, rows: impl IntoIterator<Item = IndexRow>) {
        let rows: Vec<_> = rows.into_iter().collect();
        self.knows_many(access_key, rows.len() as u64, move |at| rows[at as usize].clone());
    }

    /// The same with rows that are made whenever one is asked for, and never held.
    pub fn knows_many(
        &self,
        access_key: &str,
        count: u64,
        row: impl Fn(u64) -> IndexRow + Send + Sync + 'static,
    ) {
        let row = Arc::new(row);
        self.index(access_key, |index| index.rows.push(Rows { count, row }));
    }

    /// The account's index is empty again.
    pub fn forgets(&self, access_key: &str) {
        self.index(access_key, |index| index.rows.clear());
    }

    /// How the account's packages are made and named that are ordered from now on.
    pub fn packages(&self, access_key: &str, packages: Packages) {
        self.index(access_key, |index| index.packages = packages);
    }

    /// What the account's next orders of an index are answered, one each; after them all is well.
    pub fn orders(&self, access_key: &str, replies: impl IntoIterator<Item = Reply>) {
        self.index(access_key, |index| index.orders.extend(replies));
    }

    /// What the account's next requests for a package are answered, one each; after them all is well.
    pub fn fetches(&self, access_key: &str, faults: impl IntoIterator<Item = Fault>) {
        self.index(access_key, |index| index.fetches.extend(faults));
    }

    /// What all of both are answered: to an account that may not, or by a release that knows neither.
    pub fn no_index(&self, access_key: &str, reply: Reply) {
        self.index(access_key, |index| index.none = Some(reply));
    }

    /// What the account has ordered with success, in its order.
    pub fn ordered(&self, access_key: &str) -> Vec<Order> {
        self.index(access_key, |index| index.ordered())
    }

    fn index<T>(&self, access_key: &str, change: impl FnOnce(&mut Index) -> T) -> T {
        change(self.state().indexes.entry(access_key.to_owned()).or_default())
    }

    /// Limits an account.
    pub fn limit(&self, access_key: &str, limit: Limit) {
        self.state().limits.insert(access_key.to_owned(), limit);
    }

    /// The only Host that is served, as behind an NSLB; any other is answered 421.
    pub fn expect_host(&self, host: &str) {
        self.state().host = Some(host.to_owned());
    }

    /// Sets the simulator's clock forward (or back): its Date, and the time it holds against
    /// signatures.
    pub fn clock_offset(&self, offset: SignedDuration) {
        self.state().clock_offset = offset;
    }

    /// Whether requests are kept for [`Self::requests`]; a bench turns it off.
    pub fn remember(&self, remember: bool) {
        self.state().remember = remember;
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Those for a callId or fileName.
    pub fn requests_for(&self, name: &str) -> Vec<Seen> {
        let name = Some(name.to_owned());
        let mut seen = self.requests();
        seen.retain(|seen| seen.asked.call_id == name || seen.asked.file_name == name);
        seen
    }

    /// Downloads under way, those of all accounts.
    pub fn active(&self) -> usize {
        self.shared.active.load(Ordering::SeqCst)
    }

    /// The most downloads that were under way at once.
    pub fn peak(&self) -> usize {
        self.shared.peak.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// What the last reply for `name` holds: its length, hash and bytes.
    ///
    /// A request with both names makes the bytes from the callId.
    pub fn expected(&self, name: &str) -> Content {
        let state = self.state();
        let scripted = state.scripts.get(name).and_then(|script| script.back().cloned());
        let own = || by_name(name)?.pop();
        scripted.or_else(own).unwrap_or_else(|| state.default.clone()).content(name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(serving) = lock(&self.serving).take() {
            serving.abort();
        }
    }
}

/// Accepts until it is aborted, which drops the connections too.
async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        open.spawn(connection(stream, acceptor.clone(), Arc::clone(&shared), number));
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    number: u64,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream: Box<dyn wire::Stream> = match acceptor {
        Some(acceptor) => Box::new(acceptor.accept(stream).await?),
        None => Box::new(stream),
    };
    wire::serve(shared, stream, number).await;
    Ok(())
}
