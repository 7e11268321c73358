package chart_test

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // its only way to be chosen
	"github.com/sirupsen/logrus"
	"helm.sh/helm/v4/pkg/chart/common"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/registry"
	"helm.sh/helm/v4/pkg/repo/v1"

	"github.com/plumb-gitops/plumb/pkg/chart"
	"github.com/plumb-gitops/plumb/pkg/oci"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// site serves a directory, as a chart repository does, and remembers requests.
type site struct {
	*httptest.Server
	dir string

	mu    sync.Mutex
	seen  []string // status and path
	auths []string
	door  func(http.ResponseWriter, *http.Request) (through bool)
}

func serve(t testing.TB) *site {
	t.Helper()
	s := &site{dir: t.TempDir()}
	files := http.FileServer(http.Dir(s.dir))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.URL.Path)
		if a := r.Header.Get("Authorization"); a != "" {
			s.auths = append(s.auths, a)
		}
		door := s.door
		s.mu.Unlock()
		if door == nil || door(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) guard(door func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.door = door
}

func (s *site) take() (seen, auths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, auths, s.seen, s.auths = s.seen, s.auths, nil, nil
	return seen, auths
}

// local is the site by the name of another host.
func (s *site) local() string { return strings.Replace(s.URL, "127.0.0.1", "localhost", 1) }

// add packages a chart as helm package does.
func (s *site) add(t testing.TB, name string, versions ...string) {
	t.Helper()
	for _, v := range versions {
		c := &helmchart.Chart{
			Metadata:  &helmchart.Metadata{APIVersion: "v2", Name: name, Version: v},
			Templates: []*common.File{{Name: "templates/a.yaml", Data: []byte("version: " + v)}},
		}
		if _, err := chartutil.Save(c, s.dir); err != nil {
			t.Fatal(err)
		}
	}
}

// index writes index.yaml as helm repo index does; base is empty for relative URLs.
func (s *site) index(t testing.TB, base string, change func(*repo.IndexFile)) {
	t.Helper()
	i, err := repo.IndexDirectory(s.dir, base)
	if err != nil {
		t.Fatal(err)
	}
	i.SortEntries()
	if change != nil {
		change(i)
	}
	if err := i.WriteFile(filepath.Join(s.dir, "index.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// images is a real registry; it returns its host.
func images(t testing.TB) string {
	t.Helper()
	logrus.SetOutput(io.Discard)
	c := &configuration.Configuration{Storage: configuration.Storage{"inmemory": nil}}
	c.Log.AccessLog.Disabled = true
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s := httptest.NewServer(handlers.NewApp(ctx, c))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// push sends an archive of the site to a registry, as helm push does.
func (s *site) push(t testing.TB, host, name, version string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name+"-"+version+".tgz"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := registry.NewClient(registry.ClientOptPlainHTTP(), registry.ClientOptWriter(io.Discard), registry.ClientOptCredentialsFile(filepath.Join(t.TempDir(), "none")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Push(data, host+"/charts/"+name+":"+version)
	if err != nil {
		t.Fatal(err)
	}
	return got.Manifest.Digest
}

var listed = []string{"127.0.0.1", "localhost"}

func fetcher(o chart.Options) *chart.Fetcher {
	o.InsecureHosts = listed
	return chart.New(oci.New(oci.Options{InsecureHosts: listed}), o)
}

// onDisk is a directory as a tree.
func onDisk(t testing.TB, dir string) tree.Tree {
	t.Helper()
	files := map[string]tree.File{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = tree.File{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := tree.FromFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// later makes a file look as changed two seconds on: HTTP knows whole seconds.
func later(t testing.TB, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	at := info.ModTime().Add(2 * time.Second)
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}
