//! Certificates that only the test trusts.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// How a registry speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Who signed its certificate, and those of its clients.
    pub authority: Authority,
    /// Whether clients must show a certificate.
    pub client_certificates: bool,
    /// The names in its certificate.
    pub names: Vec<String>,
}

impl Tls {
    /// TLS for this machine's own names.
    pub fn new(authority: &Authority) -> Self {
        let names = ["localhost", "127.0.0.1", "registry.example"].map(str::to_owned).to_vec();
        Self { authority: authority.clone(), client_certificates: false, names }
    }
}

/// A certificate authority.
#[derive(Clone)]
pub struct Authority(Arc<CertifiedIssuer<'static, KeyPair>>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("a key");
        Self(Arc::new(CertifiedIssuer::self_signed(params, key).expect("a certificate")))
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `names` with its key, both in PEM.
    pub fn issue(&self, names: &[String], usage: ExtendedKeyUsage) -> (String, String) {
        let mut params = CertificateParams::new(names.to_vec()).expect("names");
        params.distinguished_name.push(rcgen::DnType::CommonName, names.first().map_or("test", String::as_str));
        params.extended_key_usages = vec![match usage {
            ExtendedKeyUsage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// A client certificate with its key, both in PEM.
    pub fn client(&self) -> (String, String) {
        self.issue(&["client.example".to_owned()], ExtendedKeyUsage::Client)
    }
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedKeyUsage {
    /// A server shows it.
    Server,
    /// A client shows it.
    Client,
}

pub(crate) fn acceptor(tls: &Tls) -> TlsAcceptor {
    let (chain, key) = tls.authority.issue(&tls.names, ExtendedKeyUsage::Server);
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("protocol versions");
    let builder = if tls.client_certificates {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(tls.authority.pem().as_bytes()).expect("PEM");
        roots.add(root).expect("a root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a certificate that fits its key")))
}
