package oci_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/oci"
	"github.com/plumb-gitops/plumb/pkg/tree/archive"
)

const unknownConfig = "application/vnd.unknown.config.v1+json"

func TestArtifactsAreTrees(t *testing.T) {
	r := newRegistry(t)
	files := map[string]string{"kustomization.yaml": "k", "base/a.yaml": "a"}
	for name, c := range map[string]struct {
		image v1.Image
		want  map[string]string
	}{
		"as flux pushes them": {flux(t, files), files},
		"files as oras pushes them": {
			artifact(t, "application/vnd.oci.empty.v1+json", layer{kind: tarType, data: []byte("a"), title: "a.yaml"}, layer{kind: "text/yaml", data: []byte("b"), title: "sub/b.yaml"}),
			map[string]string{"a.yaml": "a", "sub/b.yaml": "b"},
		},
		"a directory as oras pushes it": {
			artifact(t, unknownConfig, layer{kind: tarType + "+gzip", data: zip(t, pack(t, map[string]string{"deploy/a.yaml": "a"})), title: "deploy", dir: true}),
			map[string]string{"deploy/a.yaml": "a"},
		},
		"a plain tar": {artifact(t, unknownConfig, layer{kind: tarType, data: pack(t, files)}), files},
		"several archives": {
			artifact(t, unknownConfig, layer{kind: "application/x-tar", data: pack(t, map[string]string{"a": "1"})}, layer{kind: tarType + "+gzip", data: zip(t, pack(t, map[string]string{"b": "2"}))}),
			map[string]string{"a": "1", "b": "2"},
		},
		"a chart": {
			artifact(t, "application/vnd.cncf.helm.config.v1+json", layer{kind: helmType, data: zip(t, pack(t, map[string]string{"web/Chart.yaml": "c", "web/templates/a.yaml": "a"}))},
				layer{kind: "application/vnd.cncf.helm.chart.provenance.v1.prov", data: []byte("signed")}),
			map[string]string{"Chart.yaml": "c", "templates/a.yaml": "a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			digest := r.publish(t, "team/config", c.image, "v1")
			got, err := client(oci.Options{}).Fetch(t.Context(), oci.Query{URL: r.url("team/config"), Ref: "v1"})
			if err != nil {
				t.Fatal(err)
			}
			if got.Digest != digest || got.Tag != "v1" {
				t.Errorf("%s at %s, want %s", got.Digest, got.Tag, digest)
			}
			if diff := cmp.Diff(c.want, content(t, got.Tree)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// fails checks what an error says and means.
func fails(t *testing.T, err error, class fault.Class, want string) {
	t.Helper()
	reason := map[fault.Class]fault.Reason{fault.Permanent: fault.SourceRefused}[class]
	if reason == "" {
		reason = fault.FetchFailed
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want it to have %q", err, want)
		return
	}
	if got, _ := fault.ClassOf(err); got != class || fault.ReasonOf(err) != reason {
		t.Errorf("%v is %s, %s; want %s, %s", err, got, fault.ReasonOf(err), class, reason)
	}
}

func TestWhatIsNoArtifactIsRefused(t *testing.T) {
	r := newRegistry(t)
	many := make([]layer, 257)
	for i := range many {
		many[i] = layer{kind: "text/yaml", title: fmt.Sprintf("f%d", i)}
	}
	for name, c := range map[string]struct {
		image v1.Image
		want  string
	}{
		"a container image":           {artifact(t, "application/vnd.oci.image.config.v1+json", layer{kind: tarType, data: pack(t, map[string]string{"etc/passwd": ""})}), "container image"},
		"a layer of an unknown type":  {artifact(t, unknownConfig, layer{kind: "application/x-shellscript", data: []byte("x")}), `application/x-shellscript`},
		"no layers":                   {artifact(t, unknownConfig), "no layers"},
		"too many layers":             {artifact(t, unknownConfig, many...), "257 layers"},
		"a title that leaves":         {artifact(t, unknownConfig, layer{kind: "text/yaml", title: "../x"}), "../x"},
		"an absolute title":           {artifact(t, unknownConfig, layer{kind: "text/yaml", title: "/etc/x"}), "absolute"},
		"a file in two layers":        {artifact(t, unknownConfig, layer{kind: "text/yaml", title: "a"}, layer{kind: tarType, data: pack(t, map[string]string{"a": ""})}), "there twice"},
		"a bomb":                      {artifact(t, unknownConfig, layer{kind: fluxType, data: zip(t, pack(t, map[string]string{"a": strings.Repeat("x", 3<<20)}))}), "more than 1048576 bytes"},
		"too large a layer":           {artifact(t, unknownConfig, layer{kind: "text/yaml", title: "a", data: make([]byte, 3<<20)}), "a layer has 3145728 bytes"},
		"layers that are a lot":       {artifact(t, unknownConfig, layer{kind: "text/yaml", title: "a", data: make([]byte, 1<<20)}, layer{kind: "text/yaml", title: "b", data: make([]byte, 1<<20+1)}), "the archive has more than 2097152"},
		"an archive that leaves":      {flux(t, map[string]string{"../../etc/passwd": "x"}), "made of dots"},
		"what is no archive":          {artifact(t, unknownConfig, layer{kind: fluxType, data: []byte("hello")}), "read the archive"},
		"a chart of two directories":  {artifact(t, unknownConfig, layer{kind: helmType, data: zip(t, pack(t, map[string]string{"a/x": "", "b/x": ""}))}), "more than the one directory"},
		"an archive compressed twice": {artifact(t, unknownConfig, layer{kind: fluxType, data: zip(t, zip(t, pack(t, map[string]string{"a": ""})))}), "read the archive"},
	} {
		t.Run(name, func(t *testing.T) {
			r.publish(t, "x", c.image, "latest")
			_, err := client(oci.Options{Limits: archive.Limits{Archive: 2 << 20, File: 1 << 20, Content: 3 << 20}}).Fetch(t.Context(), oci.Query{URL: r.url("x")})
			fails(t, err, fault.Permanent, c.want)
		})
	}
}

func TestAnIndexIsRefused(t *testing.T) {
	r := newRegistry(t)
	ref, err := name.NewTag(r.push+"/x:latest", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: flux(t, nil)})); err != nil {
		t.Fatal(err)
	}
	_, err = client(oci.Options{}).Fetch(t.Context(), oci.Query{URL: r.url("x")})
	fails(t, err, fault.Permanent, "index of several manifests")
}

func TestWhichArtifact(t *testing.T) {
	r := newRegistry(t)
	digests := map[string]string{}
	for _, tag := range []string{"latest", "v1.0.0", "1.2.0", "1.10.0", "1.3.0_build.7", "2.0.0-rc.1", "20240101", "1.9", "main", "sha-1.5.0"} {
		digests[tag] = r.publish(t, "x", flux(t, map[string]string{"tag": tag}), tag)
	}
	r.guard(func(_ http.ResponseWriter, q *http.Request) bool { // pages of three
		if v := q.URL.Query(); v.Get("n") != "" {
			v.Set("n", "3")
			q.URL.RawQuery = v.Encode()
		}
		return true
	})
	for name, c := range map[string]struct {
		q    oci.Query
		want string // tag
		err  string
	}{
		"latest is the default":                {oci.Query{}, "latest", ""},
		"a tag":                                {oci.Query{Ref: "main"}, "main", ""},
		"the newest of a range":                {oci.Query{Semver: ">=1.0 <2"}, "1.10.0", ""},
		"a tag with a v":                       {oci.Query{Semver: "1.0.x"}, "v1.0.0", ""},
		"a tag with build metadata":            {oci.Query{Semver: "~1.3"}, "1.3.0_build.7", ""},
		"a range without pre-releases":         {oci.Query{Semver: "*"}, "1.10.0", ""},
		"a range with pre-releases":            {oci.Query{Semver: ">=1.0.0-0"}, "2.0.0-rc.1", ""},
		"a range that none is in":              {oci.Query{Semver: ">=3"}, "", "none of the 10 tags"},
		"a range that is none":                 {oci.Query{Semver: "newest"}, "", "no range of versions"},
		"a ref and a range":                    {oci.Query{Ref: "main", Semver: "1"}, "", "exclude each other"},
		"a tag that is not there":              {oci.Query{Ref: "v9"}, "", "check the repository and the ref"},
		"a digest that is not there":           {oci.Query{Ref: "sha256:" + strings.Repeat("0", 64)}, "", "check the repository and the ref"},
		"a ref that is neither tag nor digest": {oci.Query{Ref: "../blobs/x"}, "", "neither a tag nor"},
		"a digest of another kind":             {oci.Query{Ref: "sha512:abc"}, "", "neither a tag nor"},
	} {
		t.Run(name, func(t *testing.T) {
			c.q.URL = r.url("x")
			got, err := client(oci.Options{}).Fetch(t.Context(), c.q)
			if c.err != "" {
				fails(t, err, fault.Permanent, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Tag != c.want || got.Digest != digests[c.want] || content(t, got.Tree)["tag"] != c.want {
				t.Errorf("%s is %s, want %s", got.Tag, got.Digest, c.want)
			}
		})
	}
	t.Run("a digest", func(t *testing.T) {
		got, err := client(oci.Options{}).Fetch(t.Context(), oci.Query{URL: r.url("x"), Ref: digests["main"]})
		if err != nil || got.Tag != "" || got.Digest != digests["main"] || content(t, got.Tree)["tag"] != "main" {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("too many tags", func(t *testing.T) {
		_, err := client(oci.Options{Tags: 5}).Fetch(t.Context(), oci.Query{URL: r.url("x"), Semver: "*"})
		fails(t, err, fault.Permanent, "more than 5 tags")
	})
	t.Run("a list without an end", func(t *testing.T) {
		r.guard(func(w http.ResponseWriter, q *http.Request) bool {
			if !strings.HasSuffix(q.URL.Path, "/tags/list") {
				return true
			}
			w.Header().Set("Link", `</v2/x/tags/list?last=a>; rel="next"`)
			fmt.Fprint(w, `{"tags":["a","b"]}`)
			return false
		})
		_, err := client(oci.Options{Tags: 20}).Fetch(t.Context(), oci.Query{URL: r.url("x"), Semver: "*"})
		fails(t, err, fault.Permanent, "more than 20 tags")
	})
}

func TestAnUnchangedTagCostsOneRequest(t *testing.T) {
	r := newRegistry(t)
	digest := r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	c := client(oci.Options{})
	fetch := func(known string) oci.Artifact {
		t.Helper()
		got, err := c.Fetch(t.Context(), oci.Query{URL: r.url("x"), Ref: "main", Known: known})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	fetch("")
	r.take()
	if got := fetch(""); content(t, got.Tree)["a"] != "1" {
		t.Error("the second fetch has another tree")
	}
	if seen, _ := r.take(); !cmp.Equal(seen, []string{"HEAD /v2/x/manifests/main"}) {
		t.Errorf("the second fetch asked %q", seen)
	}
	if got := fetch(digest); got.Tree != nil || got.Digest != digest {
		t.Errorf("what is known came again: %+v", got)
	}
	r.publish(t, "x", flux(t, map[string]string{"a": "2"}), "main")
	if got := fetch(digest); content(t, got.Tree)["a"] != "2" {
		t.Error("a tag that moved has the old tree")
	}
}

// Many Applications of one artifact cost as much as two.
func TestCallersShareAFetch(t *testing.T) {
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	c := client(oci.Options{})
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if _, err := c.Fetch(t.Context(), oci.Query{URL: r.url("x"), Ref: "main"}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	blobs := 0
	seen, _ := r.take()
	for _, s := range seen {
		if strings.Contains(s, "/blobs/") {
			blobs++
		}
	}
	if blobs != 1 || len(seen) > 40 {
		t.Errorf("%d requests, %d for blobs: %q", len(seen), blobs, seen)
	}
}

func TestBytesMustHaveTheirDigest(t *testing.T) {
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	other := zip(t, pack(t, map[string]string{"a": "forged"}))
	for name, c := range map[string]struct {
		door  func(http.ResponseWriter, *http.Request) bool
		class fault.Class
		want  string
	}{
		"a blob that is another": {func(w http.ResponseWriter, q *http.Request) bool {
			if strings.Contains(q.URL.Path, "/blobs/") {
				_, _ = w.Write(other)
				return false
			}
			return true
		}, fault.Transient, "read a layer: the registry sent other bytes"},
		"a blob that goes on": {func(w http.ResponseWriter, q *http.Request) bool {
			if strings.Contains(q.URL.Path, "/blobs/") {
				_, _ = w.Write(make([]byte, 1<<20))
				return false
			}
			return true
		}, fault.Transient, "the registry sent other bytes"},
		"a manifest that is another": {func(w http.ResponseWriter, q *http.Request) bool {
			if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/manifests/") {
				fmt.Fprint(w, `{"schemaVersion":2,"layers":[]}`)
				return false
			}
			return true
		}, fault.Transient, "read the manifest: the registry sent other bytes"},
		"a manifest that goes on": {func(w http.ResponseWriter, q *http.Request) bool {
			if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/manifests/") {
				_, _ = w.Write(make([]byte, 5<<20))
				return false
			}
			return true
		}, fault.Permanent, "answer has more than"},
	} {
		t.Run(name, func(t *testing.T) {
			r.guard(c.door)
			_, err := client(oci.Options{}).Fetch(t.Context(), oci.Query{URL: r.url("x"), Ref: "main"})
			fails(t, err, c.class, c.want)
		})
	}
}

// bare hides what a registry says about digests.
type bare struct{ http.ResponseWriter }

func (b bare) WriteHeader(status int) {
	b.Header().Del("Docker-Content-Digest")
	b.ResponseWriter.WriteHeader(status)
}

func TestARegistryThatTellsNoDigest(t *testing.T) {
	r := newRegistry(t)
	digest := r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	r.guard(func(w http.ResponseWriter, q *http.Request) bool {
		r.backend.ServeHTTP(bare{w}, q)
		return false
	})
	got, err := client(oci.Options{}).Fetch(t.Context(), oci.Query{URL: r.url("x"), Ref: "main"})
	if err != nil || got.Digest != digest {
		t.Errorf("%s, %v; want %s", got.Digest, err, digest)
	}
}
