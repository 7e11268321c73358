package receiver_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plumb-gitops/plumb/pkg/service/receiver"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// notifyingRegistry is a real CNCF Distribution registry that notifies a hook.
func notifyingRegistry(t *testing.T, hook string) string {
	t.Helper()
	c := &configuration.Configuration{Storage: configuration.Storage{"inmemory": nil}}
	c.Log.AccessLog.Disabled = true
	c.Notifications.Endpoints = []configuration.Endpoint{{
		Name: "plumb", URL: hook, Headers: http.Header{"Authorization": {"Bearer " + secret}},
		Timeout: 5 * time.Second, Threshold: 1, Backoff: 50 * time.Millisecond,
	}}
	logrus.SetOutput(io.Discard) // the registry logs there whatever it is told
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	server := httptest.NewServer(handlers.NewApp(ctx, c))
	t.Cleanup(server.Close)
	return server.URL
}

func put(t *testing.T, url, media string, body []byte) {
	t.Helper()
	q, err := http.NewRequest(http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", media)
	out, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	if text, _ := io.ReadAll(out.Body); out.StatusCode != http.StatusCreated {
		t.Fatalf("put %s: %s %s", url, out.Status, text)
	}
}

// pushImage pushes a config blob and a manifest and returns its digest.
func pushImage(t *testing.T, registry, name, tag string) string {
	t.Helper()
	config := []byte("{}")
	begun, err := http.Post(registry+"/v2/"+name+"/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	begun.Body.Close()
	configDigest := fmt.Sprintf("sha256:%x", sha256.Sum256(config))
	put(t, begun.Header.Get("Location")+"&digest="+configDigest, "application/octet-stream", config)
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[]}`, configDigest)
	put(t, registry+"/v2/"+name+"/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", manifest)
	return fmt.Sprintf("sha256:%x", sha256.Sum256(manifest))
}

func TestARealRegistryNotifiesTheReceiver(t *testing.T) {
	var out recorder
	addr, _ := serve(t, build(t, hooked(t, "distribution"), &out, receiver.Options{}))
	registry := notifyingRegistry(t, "http://"+addr+"/hooks/distribution")
	digest := pushImage(t, registry, "acme/web", "v1")
	eventually(t, "the push is an event", func() bool { return out.count() == 1 })
	got := out.events[0].Data.(*eventsv1.ImagePush)
	want := &eventsv1.ImagePush{Registry: strings.TrimPrefix(registry, "http://"), Repository: "acme/web", Tag: "v1", Digest: digest, Provider: "distribution", DeliveryId: got.GetDeliveryId()}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || got.GetDeliveryId() == "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// The registry repeats what was not taken, under the same id.
func TestARealRegistryRepeatsWhatWasNotTaken(t *testing.T) {
	out := recorder{fail: io.ErrUnexpectedEOF}
	addr, _ := serve(t, build(t, hooked(t, "distribution"), &out, receiver.Options{}))
	registry := notifyingRegistry(t, "http://"+addr+"/hooks/distribution")
	pushImage(t, registry, "acme/web", "v1")
	eventually(t, "it was refused twice, and is taken from now on", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		if out.failed < 2 {
			return false
		}
		out.fail = nil
		return true
	})
	eventually(t, "the repetition is an event", func() bool { return out.count() == 1 })
}
