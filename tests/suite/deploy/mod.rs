//! What `deploy/` promises, without a cluster: the manifests as `kubectl` builds them, the probes
//! as Kubernetes runs them, the image, the unit for systemd, alerts and dashboard.

mod image;
mod monitoring;
mod network;
mod pods;
mod probes;
mod replicas;
mod systemd;
