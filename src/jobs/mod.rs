//! What happens by itself. Each job does one round when it is asked to; `serve` asks again and again, tests by hand.

pub mod deliver;
