package chart

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"

	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// release is one version of a chart in an index.
type release struct {
	Version string
	Digest  string // sha256:…, empty when the index has none
	URL     string // of the archive, as it stands in the index
}

// index is what is needed of an index.yaml; Helm, "The Chart Repository Guide".
type index struct {
	releases map[string][]release
	weight   int64
	answer   http.Header // to ask whether there is a newer one
}

// indexes keeps what was read of repositories, and asks each for one thing at a time.
type indexes struct {
	limit int64
	line  egress.Line[*index]
	parse sync.Mutex // one at a time: the parser takes many times the file's size

	mu   sync.Mutex
	used int64
	kept map[string]*index
}

// get returns the repository's index as it is now.
func (x *indexes) get(ctx context.Context, from *remote) (*index, error) {
	key := from.String() + "\x00" + from.credential.Key()
	i, err := x.line.Ask(ctx, key, func(ctx context.Context) (*index, error) { return x.refresh(ctx, from, key) })
	if err != nil {
		return nil, egress.Explain("look into "+from.String(), err)
	}
	return i, nil
}

func (x *indexes) refresh(ctx context.Context, from *remote, key string) (*index, error) {
	old := x.find(key)
	ask := http.Header{}
	if old != nil {
		ask = old.answer
	}
	const doing = "read index.yaml"
	res, err := from.get(ctx, doing, from.repo.JoinPath("index.yaml"), ask, "there is no Helm repository at this URL")
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusNotModified {
		if old == nil {
			return nil, fault.Retry(fault.FetchFailed, "%s: the server answers 304 to a plain question", doing)
		}
		return old, nil
	}
	data, err := egress.Body(res.Body, from.fetcher.o.Index)
	if err != nil {
		return nil, egress.Explain(doing, err)
	}
	x.parse.Lock()
	fresh, err := parseIndex(data)
	x.parse.Unlock()
	if err != nil {
		return nil, err
	}
	fresh.answer = conditions(res.Header)
	x.keep(key, fresh)
	return fresh, nil
}

// conditions ask whether an answer has changed; RFC 9110, 13.1.
func conditions(h http.Header) http.Header {
	ask := http.Header{}
	if tag := h.Get("ETag"); tag != "" {
		ask.Set("If-None-Match", tag)
	}
	if date := h.Get("Last-Modified"); date != "" {
		ask.Set("If-Modified-Since", date)
	}
	return ask
}

func (x *indexes) find(key string) *index {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.kept[key]
}

// keep makes room by forgetting any others: one saves a download.
func (x *indexes) keep(key string, i *index) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drop(key)
	if i.weight > x.limit {
		return
	}
	for other := range x.kept {
		if x.used+i.weight <= x.limit {
			break
		}
		x.drop(other)
	}
	x.kept[key] = i
	x.used += i.weight
}

func (x *indexes) drop(key string) {
	if i := x.kept[key]; i != nil {
		x.used -= i.weight
		delete(x.kept, key)
	}
}

// entry is the part of an index's entry that is read.
type entry struct {
	Version string   `json:"version" yaml:"version"`
	Digest  string   `json:"digest" yaml:"digest"`
	URLs    []string `json:"urls" yaml:"urls"`
}

// parseIndex reads an index in YAML or JSON. Entries without a version or a URL
// are passed over, as Helm does.
func parseIndex(data []byte) (*index, error) {
	var file struct {
		APIVersion string             `json:"apiVersion" yaml:"apiVersion"`
		Entries    map[string][]entry `json:"entries" yaml:"entries"`
	}
	read := yaml.Unmarshal
	if json.Valid(data) {
		read = json.Unmarshal
	}
	if err := read(data, &file); err != nil || file.APIVersion == "" {
		return nil, fault.Refuse(fault.SourceRefused, fault.Place{File: "index.yaml"}, "it is not the index of a Helm repository; is this the URL that helm repo add takes?")
	}
	i := &index{releases: map[string][]release{}}
	for name, entries := range file.Entries {
		for _, e := range entries {
			if r, ok := e.release(); ok {
				i.releases[name] = append(i.releases[name], r)
				i.weight += int64(len(name)+len(r.Version)+len(r.Digest)+len(r.URL)) + 128
			}
		}
	}
	return i, nil
}

func (e entry) release() (release, bool) {
	if e.Version == "" || len(e.URLs) == 0 || e.URLs[0] == "" {
		return release{}, false
	}
	digest := e.Digest
	if digest != "" && !strings.HasPrefix(digest, "sha256:") {
		digest = "sha256:" + digest
	}
	if digest != "" && !digestForm.MatchString(digest) {
		return release{}, false // it could not be verified
	}
	return release{strings.Clone(e.Version), strings.Clone(digest), strings.Clone(e.URLs[0])}, true
}

// find returns the release with this very version, else the newest one wanted.
func (i *index) find(name, version string, wanted *semver.Constraints) (release, error) {
	releases, ok := i.releases[name]
	if !ok {
		return release{}, refuse("the repository has no chart of this name; check spec.source.helm.chart, or the name of the dependency")
	}
	if at := slices.IndexFunc(releases, func(r release) bool { return r.Version == version }); at >= 0 {
		return releases[at], nil
	}
	var best *semver.Version
	var found release
	for _, r := range releases {
		v, err := semver.NewVersion(r.Version)
		if err == nil && wanted.Check(v) && (best == nil || v.GreaterThan(best)) {
			best, found = v, r
		}
	}
	if best == nil {
		return release{}, refuse("none of its %d versions in the repository is %q; pre-releases count only if the version names one", len(releases), version)
	}
	return found, nil
}
