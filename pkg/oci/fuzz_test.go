package oci

import (
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Whatever stands in a Secret, reading it ends in a credential or in an error that
// tells nothing of it.
func FuzzDockerConfig(f *testing.F) {
	f.Add(`{"auths":{"a.local":{"auth":"Y2k6cA=="}}}`)
	f.Add(`{"auths":{"https://index.docker.io/v1/":{"username":"<token>","identitytoken":"i"}}}`)
	f.Add(`{"auths":null}`)
	f.Fuzz(func(t *testing.T, data string) {
		c, err := DockerConfig([]byte(data))
		if err == nil {
			c.login("a.local", "team/x")
			c.Key()
			return
		}
		if class, _ := fault.ClassOf(err); class != fault.Permanent || len(data) > 200 && strings.Contains(err.Error(), data) {
			t.Fatal(err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.empty.v1+json"},"layers":[{"mediaType":"text/yaml","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}]}`)
	f.Add(`{"manifests":[]}`)
	f.Add(`{"layers":[{"size":-1}]}`)
	f.Fuzz(func(t *testing.T, data string) {
		m, err := parseManifest([]byte(data))
		if err != nil {
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Fatal(err)
			}
			return
		}
		if len(m.Layers) == 0 || len(m.Layers) > maxLayers {
			t.Fatalf("%d layers", len(m.Layers))
		}
		for _, l := range m.Layers {
			_, _ = taker(nil, l)
		}
	})
}
