//! Whom TLS trusts, and who we are to a registry that asks.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Identity, RegistryTls, Roots};
use crate::error::Error;

fn invalid(what: &str, reason: impl std::fmt::Display) -> Error {
    Error::Config { what: what.to_owned(), reason: reason.to_string() }
}

/// A configuration that trusts nobody: for clients that only ever speak plain http.
pub(crate) fn without_roots() -> Result<ClientConfig, Error> {
    build(RootCertStore::empty(), None)
}

/// The configuration for `registry`'s own certificates on top of the general `roots`.
pub(crate) fn configuration(roots: &Roots, registry: Option<&RegistryTls>) -> Result<ClientConfig, Error> {
    let mut store = RootCertStore::empty();
    if roots.built_in {
        store.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    // The first file that exists is the system's list; the others are links to it or another name.
    if let Some(pem) = roots.system.iter().find_map(|path| std::fs::read(path).ok()) {
        store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
    }
    for (name, pem) in roots.extra.iter().chain(registry.into_iter().flat_map(|registry| &registry.roots)) {
        add(&mut store, name, pem)?;
    }
    build(store, registry.and_then(|registry| registry.identity.as_ref()))
}

/// The user's own certificates: one that cannot be used is an error, never left out.
fn add(store: &mut RootCertStore, name: &str, pem: &[u8]) -> Result<(), Error> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| invalid(name, format_args!("not PEM: {error}")))?;
        store.add(certificate).map_err(|error| invalid(name, format_args!("not a usable certificate: {error}")))?;
        count += 1;
    }
    if count == 0 { Err(invalid(name, "holds no certificate in PEM")) } else { Ok(()) }
}

fn build(roots: RootCertStore, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS", error))?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(&identity.chain)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| invalid(&identity.name, format_args!("not PEM: {error}")))?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key)
                .map_err(|_| invalid(&identity.name, "its key is not a PEM key"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| invalid(&identity.name, error))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
