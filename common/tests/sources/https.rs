//! Fetching over https: a TLS server in front of the http one.
//!
//! The certificate is self-signed, for 127.0.0.1 and a hundred years; its key guards nothing. Made with
//! `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj "/CN=ClusterRunner test"
//! -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE`.

use std::net::SocketAddr;
use std::sync::Arc;

use clusterrunner_common::git::GitOptions;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::repository::{Source, TestMirror, git};
use crate::server::HttpServer;

const CERTIFICATE: &[u8] = include_bytes!("loopback_certificate.pem");
const KEY: &[u8] = include_bytes!("loopback_key.pem");

/// Takes TLS connections and passes what is in them on to `behind`, as long as the runtime lives.
fn start_tls(behind: SocketAddr) -> (Runtime, SocketAddr) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate ends the handshake.
                if let Ok(mut inside) = acceptor.accept(connection).await {
                    let mut behind = TcpStream::connect(behind).await.unwrap();
                    tokio::io::copy_bidirectional(&mut inside, &mut behind)
                        .await
                        .ok();
                }
            });
        }
    });
    (runtime, address)
}

#[test]
fn a_repository_is_fetched_if_the_certificate_is_trusted() {
    let source = Source::with_one_commit();
    let server = HttpServer::start(source.folder());
    let (_runtime, address) = start_tls(server.address);
    let url = format!("https://me:p%40ss@{address}/auth/source/.git");
    let trusting = GitOptions {
        root_certificates: vec![CERTIFICATE.to_vec()],
        ..GitOptions::default()
    };
    let mirror = TestMirror::new(&url, trusting);
    assert_eq!(mirror.fetch(None, None).unwrap(), source.head());
    source.commit(&[("file", "two")]);
    let commit = mirror.fetch(None, None).unwrap();
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("file"), "two");
    assert_eq!(git(&mirror.work_tree(), &["status", "--porcelain"]), "");

    let text = TestMirror::new(&url, GitOptions::default())
        .fetch(None, None)
        .unwrap_err()
        .to_string();
    assert!(text.contains("invalid peer certificate"), "{text}");
    let odd = GitOptions {
        root_certificates: vec![
            b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_vec(),
        ],
        ..GitOptions::default()
    };
    let text = TestMirror::new(&url, odd)
        .fetch(None, None)
        .unwrap_err()
        .to_string();
    assert!(text.contains("root certificate"), "{text}");
}
