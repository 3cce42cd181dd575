//! A slave in this process, from its first connect to its end, against a master that only plays one.

mod connection;
mod orders;
mod support;
mod work;
