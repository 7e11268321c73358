package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/plumb-gitops/plumb/pkg/egress"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/tree/archive"
	"github.com/plumb-gitops/plumb/pkg/tree/shelf"
)

// Media types: of Flux (fluxcd.io, "OCI Artifacts"), of Helm (helm.sh, "Registries").
const (
	fluxContent    = "application/vnd.cncf.flux.content.v1.tar+gzip"
	helmConfig     = "application/vnd.cncf.helm.config.v1+json"
	helmContent    = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	helmProvenance = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

// Annotations of ORAS: the name of a layer's file, and that it is a packed directory.
const (
	title  = "org.opencontainers.image.title"
	unpack = "io.deis.oras.content.unpack"
)

// maxLayers bounds requests for one artifact.
const maxLayers = 256

var manifestTypes = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.DockerManifestSchema2), string(types.OCIImageIndex), string(types.DockerManifestList),
}, ", ")

func (s *session) manifest(method, ref string) request {
	return request{
		doing: "read the manifest", method: method, path: "manifests/" + ref, accept: manifestTypes,
		missing: "the registry has no " + s.repo.Name() + joiner(ref) + ref + "; check the repository and the ref, and that the credential may see it",
	}
}

func joiner(ref string) string {
	if digestForm.MatchString(ref) {
		return "@"
	}
	return ":"
}

// head returns the digest of the manifest that ref, a tag or digest, leads to.
func (s *session) head(ctx context.Context, ref string) (string, error) {
	res, err := s.send(ctx, s.manifest(http.MethodHead, ref))
	if err != nil {
		return "", err
	}
	_ = res.Body.Close() // it has none
	if digest := res.Header.Get("Docker-Content-Digest"); digestForm.MatchString(digest) {
		return digest, nil
	}
	data, err := s.read(ctx, s.manifest(http.MethodGet, ref), maxAnswer+1) // not all registries tell it
	return digestOf(data), err
}

// read returns at most so many bytes of an answer.
func (s *session) read(ctx context.Context, q request, limit int64) ([]byte, error) {
	res, err := s.send(ctx, q)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, limit))
	if err != nil {
		return nil, egress.Explain(q.doing, err)
	}
	return data, nil
}

// verified is what has the digest that was asked for. What is longer than the limit
// has another one.
func (s *session) verified(ctx context.Context, q request, digest string, limit int64) ([]byte, error) {
	data, err := s.read(ctx, q, limit+1)
	if err != nil {
		return nil, err
	}
	if digestOf(data) != digest {
		return nil, fault.Retry(fault.FetchFailed, "%s: the registry sent other bytes than those of %s; they were thrown away", q.doing, digest)
	}
	return data, nil
}

// load reads the artifact with the digest.
func (s *session) load(ctx context.Context, digest string, limits archive.Limits) (shelf.Item, error) {
	data, err := s.verified(ctx, s.manifest(http.MethodGet, digest), digest, maxAnswer)
	if err != nil {
		return shelf.Item{}, err
	}
	m, err := parseManifest(data)
	if err != nil {
		return shelf.Item{}, err
	}
	files := archive.New(limits)
	for _, layer := range m.Layers {
		if err := s.layer(ctx, files, layer); err != nil {
			return shelf.Item{}, err
		}
	}
	t, err := files.Tree()
	return shelf.Item{Tree: t, Weight: files.Weight()}, err
}

// parseManifest reads the manifest of an artifact that is none of an image.
func parseManifest(data []byte) (*v1.Manifest, error) {
	var index struct {
		Manifests json.RawMessage `json:"manifests"`
	}
	if json.Unmarshal(data, &index) == nil && index.Manifests != nil {
		return nil, refuse("it is an index of several manifests; name the digest or tag of one of them in ref")
	}
	m, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return nil, refuse("its manifest is not one of the OCI image specification")
	}
	switch {
	case m.Config.MediaType == types.OCIConfigJSON || m.Config.MediaType == types.DockerConfigJSON:
		return nil, refuse("it is a container image; push the files as an artifact, with flux push artifact or oras push")
	case len(m.Layers) == 0:
		return nil, refuse("it has no layers")
	case len(m.Layers) > maxLayers:
		return nil, refuse("it has %d layers; at most %d are read", len(m.Layers), maxLayers)
	}
	return m, nil
}

// layer adds what one layer holds.
func (s *session) layer(ctx context.Context, files *archive.Reader, d v1.Descriptor) error {
	if d.MediaType == helmProvenance {
		return nil
	}
	add, err := taker(files, d)
	if err != nil {
		return err
	}
	if limit := files.Limits().Archive; d.Size < 0 || d.Size > limit {
		return refuse("a layer has %d bytes; at most %d are read", d.Size, limit)
	}
	digest := d.Digest.String()
	if !digestForm.MatchString(digest) {
		return refuse("a layer's digest is none of sha256")
	}
	data, err := s.verified(ctx, request{
		doing: "read a layer", method: http.MethodGet, path: "blobs/" + digest, blob: true,
		missing: "the registry has no blob " + digest + ", which the manifest names; push the artifact again",
	}, digest, d.Size)
	if err != nil {
		return err
	}
	return add(data)
}

// taker says what a layer is: a file by its title, a packed directory, or the
// packed files themselves.
func taker(files *archive.Reader, d v1.Descriptor) (func([]byte) error, error) {
	kind, name := string(d.MediaType), d.Annotations[title]
	switch {
	case kind == helmContent:
		return files.Package, nil
	case kind == fluxContent:
		return files.Tar, nil
	case name != "" && d.Annotations[unpack] != "true":
		return func(data []byte) error { return files.File(name, data) }, nil
	case packed(kind):
		return files.Tar, nil
	}
	return nil, refuse("a layer of media type %.100q has no title and is no tar archive; push it with flux push artifact or oras push", kind)
}

// packed are tar archives, plain or gzipped, under the names they go by.
func packed(kind string) bool {
	for _, end := range []string{".tar", "+tar", "/tar", "/x-tar", ".tar+gzip", ".tar.gzip", "/tar+gzip", "/gzip", "/x-gzip", "/x-tgz"} {
		if strings.HasSuffix(kind, end) {
			return true
		}
	}
	return false
}
