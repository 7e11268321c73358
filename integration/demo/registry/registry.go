// Package registry is a real CNCF Distribution registry in this process, which
// notifies a webhook of what is pushed, and a client that pushes a small image.
package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // its only way to be chosen
	"github.com/sirupsen/logrus"
)

// Registry keeps images in memory.
type Registry struct {
	host   string
	server *http.Server
	cancel context.CancelFunc
}

// Start listens on a free loopback port. Every push is told to hook, with the
// secret as bearer token.
func Start(hook, secret string) (*Registry, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}
	c := &configuration.Configuration{Storage: configuration.Storage{"inmemory": nil}}
	c.Log.AccessLog.Disabled = true
	c.Notifications.Endpoints = []configuration.Endpoint{{
		Name: "plumb", URL: hook, Headers: http.Header{"Authorization": {"Bearer " + secret}},
		Timeout: 5 * time.Second, Threshold: 3, Backoff: time.Second,
	}}
	logrus.SetOutput(io.Discard) // the registry logs there whatever it is told
	ctx, cancel := context.WithCancel(context.Background())
	r := &Registry{host: l.Addr().String(), cancel: cancel}
	r.server = &http.Server{Handler: handlers.NewApp(ctx, c), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(l) }() // ends with Stop
	return r, nil
}

// Host is host:port.
func (r *Registry) Host() string { return r.host }

// Stop ends the registry at once.
func (r *Registry) Stop() {
	r.cancel()
	_ = r.server.Close()
}

// Push pushes an image without layers, as the OCI distribution specification
// says ("Pushing a blob monolithically", "Pushing Manifests"), and returns its
// digest and when the registry began to take the manifest.
func (r *Registry) Push(ctx context.Context, name, tag string) (digest string, at time.Time, err error) {
	config := []byte("{}")
	place, err := r.upload(ctx, name)
	if err != nil {
		return "", at, err
	}
	if err := r.put(ctx, place+"&digest="+digestOf(config), "application/octet-stream", config); err != nil {
		return "", at, err
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[],`+
		`"annotations":{"org.opencontainers.image.version":%q}}`, digestOf(config), len(config), tag)
	at = time.Now()
	err = r.put(ctx, "http://"+r.host+"/v2/"+name+"/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", manifest)
	return digestOf(manifest), at, err
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// upload begins an upload and returns where the blob goes.
func (r *Registry) upload(ctx context.Context, name string) (string, error) {
	res, err := send(ctx, http.MethodPost, "http://"+r.host+"/v2/"+name+"/blobs/uploads/", "", nil, http.StatusAccepted)
	if err != nil {
		return "", err
	}
	return res.Header.Get("Location"), nil
}

func (r *Registry) put(ctx context.Context, url, media string, body []byte) error {
	_, err := send(ctx, http.MethodPut, url, media, body, http.StatusCreated)
	return err
}

func send(ctx context.Context, method, url, media string, body []byte, want int) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("push image: %w", err)
	}
	if media != "" {
		q.Header.Set("Content-Type", media)
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, fmt.Errorf("push image: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil || res.StatusCode != want {
		return nil, fmt.Errorf("push image: %s %s: %s %s", method, url, res.Status, strings.TrimSpace(string(text)))
	}
	return res, nil
}
