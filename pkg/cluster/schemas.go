package cluster

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// indexAge is for how long the list of schema documents is believed while
// nothing contradicts it.
const indexAge = 5 * time.Minute

// schemas keeps what the cluster publishes under /openapi/v3: an index with
// the hash of each group version's document, and of the documents that were
// needed a compact form. The documents themselves (up to 2 MB) are not kept.
type schemas struct {
	read   func(ctx context.Context, path string, into any) error
	now    func() time.Time
	flight singleflight.Group

	mu      sync.Mutex
	index   map[string]string // "apis/apps/v1" -> URL with hash
	indexed time.Time
	docs    map[schema.GroupVersion]document
}

// document is one group version's schemas at one hash.
type document struct {
	url    string
	loaded time.Time
	kinds  map[string]*node
}

func newSchemas(read func(context.Context, string, any) error, now func() time.Time) *schemas {
	return &schemas{read: read, now: now, docs: map[schema.GroupVersion]document{}}
}

// find returns the schema of a kind; nil when none is published. Within
// indexAge it sends nothing for a kind that it knows.
func (s *schemas) find(ctx context.Context, gvk schema.GroupVersionKind) (*node, error) {
	url, err := s.locate(ctx, gvk.GroupVersion(), s.now().Add(-indexAge))
	if err != nil || url == "" {
		return nil, err
	}
	s.mu.Lock()
	doc, ok := s.docs[gvk.GroupVersion()]
	s.mu.Unlock()
	if !ok || doc.url != url {
		doc, err = s.load(ctx, gvk.GroupVersion(), url)
	}
	return doc.kinds[gvk.Kind], err
}

// fresh is find by a document that was read no earlier than since. It does not
// go by the hash: after a change the index lags behind the document.
func (s *schemas) fresh(ctx context.Context, gvk schema.GroupVersionKind, since time.Time) (*node, error) {
	url, err := s.locate(ctx, gvk.GroupVersion(), since)
	if err != nil || url == "" {
		return nil, err
	}
	s.mu.Lock()
	doc, ok := s.docs[gvk.GroupVersion()]
	s.mu.Unlock()
	if !ok || doc.loaded.Before(since) {
		doc, err = s.load(ctx, gvk.GroupVersion(), url)
	}
	return doc.kinds[gvk.Kind], err
}

func (s *schemas) locate(ctx context.Context, gv schema.GroupVersion, since time.Time) (string, error) {
	s.mu.Lock()
	fresh := s.index != nil && !s.indexed.Before(since)
	s.mu.Unlock()
	if !fresh {
		if _, err, _ := s.flight.Do("", func() (any, error) { return nil, s.loadIndex(context.WithoutCancel(ctx)) }); err != nil {
			return "", err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index[groupVersionPath(gv)[1:]], nil
}

func (s *schemas) loadIndex(ctx context.Context) error {
	asked := s.now()
	var answer struct {
		Paths map[string]struct {
			URL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	if err := s.read(ctx, "/openapi/v3", &answer); err != nil {
		return fmt.Errorf("list schemas: %w", err)
	}
	index := make(map[string]string, len(answer.Paths))
	for path, at := range answer.Paths {
		index[path] = at.URL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.indexed = index, asked
	return nil
}

func (s *schemas) load(ctx context.Context, gv schema.GroupVersion, url string) (document, error) {
	// One load serves all who wait for it, so that none of them may cancel it.
	ctx = context.WithoutCancel(ctx)
	loaded, err, _ := s.flight.Do(url, func() (any, error) { return s.loadDocument(ctx, gv, url) })
	if err != nil {
		return document{}, err
	}
	return loaded.(document), nil
}

func (s *schemas) loadDocument(ctx context.Context, gv schema.GroupVersion, url string) (document, error) {
	asked := s.now()
	var raw struct {
		Components struct {
			Schemas map[string]*openAPI `json:"schemas"`
		} `json:"components"`
	}
	err := s.read(ctx, url, &raw)
	if _, absent := hasStatus(err, http.StatusNotFound); absent {
		return document{}, nil // unpublished since the index was read
	}
	if err != nil {
		return document{}, fmt.Errorf("read schemas of %s: %w", gv, err)
	}
	doc := document{url: url, loaded: asked, kinds: compile(gv, raw.Components.Schemas)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs[gv] = doc
	return doc, nil
}
