// Package config reads Plumb's configuration file into a plain value.
//
// It owns the file's keys, their defaults and their checks, and imports fault, event
// and the YAML parser. Load is strict: an unknown key, a missing file or a bad
// value is an error that names file, line, key and what to do, and all problems
// of a file are told at once. Secrets stay in the files that the configuration
// names; nothing here reads or prints them.
package config

import (
	"fmt"
	"io"
	"os"
	"time"
)

// maxFile is the largest configuration file in bytes.
const maxFile = 1 << 20

// Config is the whole file. Each service reads the shared sections (Cluster,
// Kubernetes, NATS, Admin, Git) and its own.
type Config struct {
	Cluster string // name of this cluster on the bus
	// ClusterLabels say what this cluster is, to the clusters generator of ApplicationSets.
	ClusterLabels map[string]string
	Kubernetes    Kubernetes
	NATS          NATS
	Admin         Admin
	Git           Git
	Receiver      Receiver
	Worker        Worker
	DriftScanner  DriftScanner
	Committer     Committer
	Alerter       Alerter
	Dashboard     Dashboard
}

// Kubernetes says how to reach the API server.
type Kubernetes struct {
	// Kubeconfig is a file; empty: in-cluster, then KUBECONFIG, then ~/.kube/config.
	Kubeconfig string
}

// NATS says where the bus is.
type NATS struct {
	URL             string // empty: an embedded server (`plumb up` only)
	CredentialsFile string
	DataDir         string // of the embedded server, the Git store and the dashboard's token
	Replicas        int    // of streams and buckets
	SyncAlways      bool   // whether the server syncs each message to disk; the embedded one does
}

// Admin is the listener of /healthz, /readyz and /metrics, and of /debug/pprof/ with
// Profiles.
type Admin struct {
	Listen   string
	Profiles bool
}

// Receiver takes webhooks.
type Receiver struct {
	Listen string
	Hooks  []Hook
}

// Hook is one webhook, POST /hooks/<name>.
type Hook struct {
	Name       string
	Provider   string
	SecretFile string   // one secret a line; read again when it changes
	Repos      []string // globs over repository URLs or image names; empty: all
}

// Worker routes and syncs.
type Worker struct {
	Concurrency           int
	Impersonation         string // ImpersonationOptional or ImpersonationRequired
	DefaultServiceAccount string // of each Application's own namespace
	Render                Render
}

// Render bounds one render of kustomize, Helm or Jsonnet.
type Render struct {
	Timeout time.Duration // by the wall clock
	CPU     time.Duration // of CPU time, in whole seconds
}

// Values of Worker.Impersonation.
const (
	ImpersonationOptional = "optional"
	ImpersonationRequired = "required"
)

// DriftScanner sweeps.
type DriftScanner struct {
	Interval time.Duration
}

// Committer writes to Git. It has no keys yet.
type Committer struct{}

// Alerter tells people.
type Alerter struct {
	Channels []Channel
	Routes   []Route
}

// Channel is one place to tell.
type Channel struct {
	Name    string
	Type    string // slack or webhook
	URLFile string // holds the URL, which is a secret
}

// Route sends what matches to channels; all routes that match count.
type Route struct {
	Match Match
	To    []string
}

// Match selects Applications; an empty list matches all.
type Match struct {
	Clusters   []string // globs
	Namespaces []string // globs
	Names      []string // globs
}

// Dashboard serves the page and the API.
type Dashboard struct {
	Listen string
}

// Default is what an empty file means.
func Default() Config {
	return Config{
		Cluster:  "local",
		NATS:     NATS{DataDir: "./plumb-data", Replicas: 1},
		Admin:    Admin{Listen: ":9090"},
		Receiver: Receiver{Listen: ":8080"},
		Worker: Worker{
			Concurrency: 32, Impersonation: ImpersonationOptional, Render: Render{Timeout: 30 * time.Second, CPU: 20 * time.Second},
		},
		DriftScanner: DriftScanner{Interval: 5 * time.Minute},
		Dashboard:    Dashboard{Listen: ":8081"},
	}
}

// Load reads a file. The files that the named sections refer to (as in
// "receiver", "git", "alerter") must be there; without names those of all
// sections. So one file can serve programs that hold different secrets.
func Load(path string, sections ...string) (Config, error) {
	data, err := read(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data, sections...)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: more than %d bytes; a configuration is smaller", path, maxFile)
	}
	return data, nil
}
