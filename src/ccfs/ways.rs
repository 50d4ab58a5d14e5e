//! The ways to CC-FS that tenants share: the connections, and what is known of the endpoints. Must
//! know nothing of keys and of what is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use url::Url;

use super::connect::{ClientError, Endpoint, endpoints};
use super::order::Order;
use super::transport::{Settings, Transport};
use crate::config;
use crate::shared::Shared;

/// All ways that there are: tenants of equal settings go the same.
#[derive(Debug)]
pub struct Ways {
    at_once: usize,
    transports: Shared<Settings, Transport>,
    ways: Shared<Route, Way>,
}

/// Which endpoints are asked, and how they are reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// As configured, one at least.
    endpoints: Vec<Url>,
    host: Option<String>,
    by: Settings,
}

/// The way to the endpoints of a [`Route`].
pub(super) struct Way {
    pub http: Arc<Transport>,
    pub route: Route,
    pub endpoints: Vec<Endpoint>,
    order: Mutex<Order>,
}

impl Ways {
    /// `at_once`: requests that are under way at once, at most.
    pub fn new(at_once: usize) -> Self {
        Self { at_once, transports: Shared::default(), ways: Shared::default() }
    }

    /// Connects nowhere yet.
    pub(super) fn way(&self, settings: &config::Ccfs) -> Result<Arc<Way>, ClientError> {
        let by = Settings::of(settings)?;
        let route =
            Route { endpoints: settings.endpoints.clone(), host: settings.host.clone(), by };
        self.ways.get(route, |route| {
            let endpoints = endpoints(settings)?;
            let connect = |by: &Settings| Transport::new(by, self.at_once);
            let http = self.transports.get(route.by.clone(), connect)?;
            Ok(Way { http, route: route.clone(), endpoints, order: Mutex::default() })
        })
    }
}

impl Route {
    /// The same in whatever order its endpoints stand.
    #[must_use]
    pub fn unordered(&self) -> Self {
        let mut route = self.clone();
        route.endpoints.sort_unstable();
        route
    }
}

impl Way {
    pub fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
