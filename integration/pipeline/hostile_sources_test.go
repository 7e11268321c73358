package pipeline

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/plumb-gitops/plumb/integration/demo/registry"
	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// source is a hostile source with a home of its own.
type source struct {
	attack
	source v1alpha1.Source
}

func (s source) application(ns, name string) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.APIVersion, a.Kind, a.Namespace, a.Name = v1alpha1.Group+"/"+v1alpha1.Version, "Application", ns, name
	a.Spec.Source = s.source
	return a
}

func of(r *gitserver.Repo) v1alpha1.Source {
	return v1alpha1.Source{Repo: r.URL(), Ref: "main", Path: "app"}
}

// sources are hostile by what a server holds or answers.
func sources(t *testing.T, s *stack.Stack) map[string]source {
	all := map[string]source{
		"a document of 100 MB": {
			attack: attack{says: []string{"app/a.yaml", "bytes"}},
			source: of(s.Repo(t, "acme/huge", map[string]string{"app/a.yaml": goodObject + strings.Repeat("# nothing but a long comment, over and over\n", 100<<20/44)})),
		},
		"a pile of values": {attack: attack{says: []string{"app/1.yaml", "2000000 values"}}, source: of(s.Repo(t, "acme/pile", pile()))},
		"100,000 files":    {attack: attack{spec: recursing, says: []string{"app", "more than 50000 files"}}, source: of(manyFiles(t, s))},
	}
	archives(t, s, all)
	submodules(t, s, all)
	servers(t, all)
	return all
}

// pile is nearly all that a source may hold, each document as full as it may be; only
// the last file is wrong.
func pile() map[string]string {
	full := goodObject + "data: {x: [" + strings.Repeat("1111111,", 390_000) + "1]}\n---\n"
	files := map[string]string{"app/z.yaml": goodObject + "kind: ConfigMap\n"}
	for i := range 6 {
		files[fmt.Sprintf("app/%d.yaml", i)] = strings.ReplaceAll(full+full+full, "{name: x}", fmt.Sprintf("{name: x%d}", i))
	}
	return files
}

// manyFiles is a repository of 100,000 objects in 100 directories.
func manyFiles(t *testing.T, s *stack.Stack) *gitserver.Repo {
	t.Helper()
	repo, err := s.Git.Create(t.Context(), "acme/many")
	if err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	in.WriteString("commit refs/heads/main\ncommitter Ada <ada@example.com> 1700000000 +0000\ndata 4\nmany\n")
	for i := range 100_000 {
		text := stack.ConfigMap(fmt.Sprintf("c%d", i), "x")
		fmt.Fprintf(&in, "M 644 inline app/d%d/c%d.yaml\ndata %d\n%s\n", i%100, i, len(text), text)
	}
	if _, err := repo.Server(t.Context(), in.String(), "fast-import", "--quiet"); err != nil {
		t.Fatal(err)
	}
	return repo
}

// bomb is an archive of 8 GB of zeros in some 8 MB: members of a gzip stream follow
// each other, so one is compressed and repeated.
func bomb(t *testing.T) []byte {
	t.Helper()
	const member, members = 64 << 20, 128
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "bomb/Chart.yaml", Mode: 0o644, Size: member * members, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	zipped := func(data []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	return append(zipped(head.Bytes()), bytes.Repeat(zipped(make([]byte, member)), members)...)
}

// archives are bombs and traps in what registries and Helm repositories hold.
func archives(t *testing.T, s *stack.Stack, all map[string]source) {
	r, err := registry.Start("http://127.0.0.1:1/", "unused")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	config := s.Repo(t, "acme/values", map[string]string{"app/values.yaml": "a: b\n"})
	for sentence, data := range map[string][]byte{
		"a bomb":                   bomb(t),
		"a way out":                archive(t, map[string]string{"bomb/Chart.yaml": hostileChart, "bomb/../../../etc/cron.d/x": "x"}),
		"an absolute way":          archive(t, map[string]string{"/etc/cron.d/x": "x"}),
		"nothing that is a gzip":   []byte("\x1f\x8b garbage"),
		"only half of its content": archive(t, chartFiles("bomb/", "bomb", nil))[:100],
	} {
		tag := slug(sentence)
		artifact(t, r.Host(), tag, data)
		all["an artifact that holds "+sentence] = source{
			attack: attack{says: []string{r.Host()}, reason: "SourceRefused"},
			source: v1alpha1.Source{Repo: "oci://" + r.Host() + "/acme/config", Ref: tag, Path: "."},
		}
		chart := of(config)
		chart.Helm = &v1alpha1.HelmSource{Chart: "bomb", Repo: helmRepository(t, data), Version: "1.0.0"}
		all["a chart that holds "+sentence] = source{attack: attack{says: []string{"bomb"}, reason: "SourceRefused"}, source: chart}
	}
}

// artifact puts one layer into a registry.
func artifact(t *testing.T, host, tag string, data []byte) {
	t.Helper()
	layer := static.NewLayer(data, types.MediaType("application/vnd.cncf.flux.content.v1.tar+gzip"))
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.flux.config.v1+json"), layer)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host+"/acme/config:"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// helmRepository serves one chart, whatever it is.
func helmRepository(t *testing.T, data []byte) string {
	index := fmt.Sprintf("apiVersion: v1\nentries:\n  bomb:\n  - {apiVersion: v2, name: bomb, version: 1.0.0, digest: %x, urls: [bomb.tgz]}\n", sha256.Sum256(data))
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/index.yaml") {
			_, _ = w.Write([]byte(index))
			return
		}
		_, _ = w.Write(data)
	})
}

func serve(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.URL
}

// submodules lead to the machine, to another host and to themselves.
func submodules(t *testing.T, s *stack.Stack, all map[string]source) {
	for sentence, url := range map[string]string{
		"a file":                "file:///etc",
		"another host":          "https://example.com/x.git",
		"an option":             "--upload-pack=touch x",
		"a command":             "ext::sh -c touch% x",
		"a way out of the host": "../../../../../etc",
	} {
		repo := s.Repo(t, "acme/modules-"+slug(sentence), map[string]string{
			"app/a.yaml": goodObject, ".gitmodules": "[submodule \"m\"]\n\tpath = app/m\n\turl = " + url + "\n",
		})
		link(t, repo, "app/m")
		from := of(repo)
		from.Submodules = true
		all["a submodule of "+sentence] = source{attack: attack{spec: recursing, any: []string{"app/m: ", ".gitmodules: submodule \"m\""}, reason: "SourceRefused"}, source: from}
	}
	repo := s.Repo(t, "acme/modules-off", map[string]string{"app/a.yaml": goodObject, ".gitmodules": "[submodule \"m\"]\n\tpath = app/m\n\turl = file:///etc\n"})
	link(t, repo, "app/m")
	all["a submodule that nobody asked for"] = source{attack: attack{spec: recursing, says: []string{"app/m", "submodules"}, reason: "SourceRefused"}, source: of(repo)}
}

// link commits a submodule's entry.
func link(t *testing.T, repo *gitserver.Repo, path string) {
	t.Helper()
	for _, args := range [][]string{
		{"update-index", "--add", "--cacheinfo", "160000," + strings.Repeat("1", 40) + "," + path},
		{"commit", "-q", "-m", "Link a submodule"},
	} {
		if _, err := repo.Git(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := repo.Push(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// servers answer as no Git server does.
func servers(t *testing.T, all map[string]source) {
	line := []byte(fmt.Sprintf("%04x%s refs/heads/%s\n", 4+40+12+200, strings.Repeat("2", 40), strings.Repeat("x", 200)))
	for sentence, c := range map[string]struct {
		reason string
		answer http.HandlerFunc
	}{
		"that sends elsewhere": {"SourceRefused", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254"+r.URL.RequestURI(), http.StatusFound)
		}},
		"that lists without end": {"FetchFailed", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, err := w.Write([]byte("001e# service=git-upload-pack\n0000"))
			for err == nil {
				_, err = w.Write(bytes.Repeat(line, 100))
			}
		}},
		"that talks nonsense": {"FetchFailed", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = w.Write([]byte("ffffnonsense"))
		}},
	} {
		all["a server "+sentence] = source{
			attack: attack{says: []string{"127.0.0.1"}, reason: c.reason},
			source: v1alpha1.Source{Repo: serve(t, c.answer) + "/acme.git", Ref: "main", Path: "."},
		}
	}
}
