//! A list of URLs that can be read as well as served: what is not in such a list is not registered.

use actix_web::{
    FromRequest, Handler, Responder, Route, Scope,
    dev::{ServiceFactory, ServiceRequest},
    web::{self, ServiceConfig},
};

/// URLs in the order in which they are tried.
#[derive(Default)]
pub struct Urls(Vec<Url>);

struct Url {
    method: &'static str,
    path: &'static str,
    route: Route,
}

/// A method that waits for its handler.
pub struct Verb(&'static str, Route);

/// A method with its handler.
pub struct Handled(&'static str, Route);

/// Shows.
pub fn get() -> Verb {
    Verb("GET", web::get())
}

/// Acts.
pub fn post() -> Verb {
    Verb("POST", web::post())
}

/// Whatever the method.
pub fn any() -> Verb {
    Verb("*", web::route())
}

impl Verb {
    /// Who answers.
    pub fn to<F, Args>(self, handler: F) -> Handled
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        Handled(self.0, self.1.to(handler))
    }
}

impl Urls {
    /// Adds one.
    #[must_use]
    pub fn route(mut self, path: &'static str, Handled(method, route): Handled) -> Self {
        self.0.push(Url { method, path, route });
        self
    }

    /// Adds those of another list.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Method and path of each; `*` is any method.
    pub fn list(&self) -> Vec<(&'static str, &'static str)> {
        self.0.iter().map(|url| (url.method, url.path)).collect()
    }

    /// Serves them.
    pub fn register(self, config: &mut ServiceConfig) {
        for url in self.0 {
            config.route(url.path, url.route);
        }
    }

    /// Serves them behind what wraps the scope.
    pub fn within<T>(self, scope: Scope<T>) -> Scope<T>
    where
        T: ServiceFactory<ServiceRequest, Config = (), Error = actix_web::Error, InitError = ()>,
    {
        self.0.into_iter().fold(scope, |scope, url| scope.route(url.path, url.route))
    }
}
