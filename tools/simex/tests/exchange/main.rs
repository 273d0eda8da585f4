//! The exchange against an independent client: tungstenite and rustls, trusting its authority.

mod admin;
mod books;
mod capture;
mod channels;
mod chaos;
mod faults;
mod private;
mod rest;
mod rules;
mod support;
