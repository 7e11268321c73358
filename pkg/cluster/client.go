package cluster

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// listPage bounds the memory of one answer.
const listPage = 500

// Client sends requests as one identity.
type Client struct {
	cluster  *Cluster
	identity Identity
	rest     *rest.RESTClient
	broken   error // why the identity has no client
}

// Scope tells whether a kind lives in namespaces. A kind that is not known is
// asked for once; one that is not served is a permanent ErrUnknownKind.
func (c *Client) Scope(ctx context.Context, gvk schema.GroupVersionKind) (namespaced bool, err error) {
	found, err := c.cluster.kinds.find(ctx, gvk)
	return found.namespaced, err
}

// Get reads an object, in the given version or, when that is gone or empty, in
// the one the cluster prefers. Absent, and of a kind no longer served: nil, nil.
func (c *Client) Get(ctx context.Context, id object.ID, version string) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	found, err := c.GetInto(ctx, id, version, &u.Object)
	if err != nil || !found {
		return nil, err
	}
	return u, nil
}

// GetInto is Get into a value that encoding/json can fill.
func (c *Client) GetInto(ctx context.Context, id object.ID, version string, into any) (found bool, err error) {
	return c.getInto(ctx, id, version, into, func(*rest.Request) {})
}

// GetCached is GetInto from the API server's cache: the answer may be moments old.
func (c *Client) GetCached(ctx context.Context, id object.ID, version string, into any) (found bool, err error) {
	return c.getInto(ctx, id, version, into, func(r *rest.Request) { r.Param("resourceVersion", "0") })
}

func (c *Client) getInto(ctx context.Context, id object.ID, version string, into any, with func(*rest.Request)) (found bool, err error) {
	err = c.onKind(ctx, id, version, func(k kind) error {
		request := c.verb("GET").AbsPath(k.path(id.Namespace), id.Name)
		with(request)
		return c.do(ctx, action{"read", id, c.identity}, request, into)
	})
	if _, absent := hasStatus(err, http.StatusNotFound); absent || isUnknownKind(err) {
		return false, nil
	}
	return err == nil, err
}

// List reads all objects of a kind, of all namespaces when namespace is empty.
func (c *Client) List(ctx context.Context, gvk schema.GroupVersionKind, namespace, labelSelector string) ([]unstructured.Unstructured, error) {
	k, err := c.cluster.kinds.find(ctx, gvk)
	if err != nil {
		return nil, err
	}
	var all []unstructured.Unstructured
	query := url.Values{"limit": {strconv.Itoa(listPage)}}
	if labelSelector != "" {
		query.Set("labelSelector", labelSelector)
	}
	for {
		page, next, err := c.page(ctx, k, gvk, namespace, query)
		if _, expired := hasStatus(err, http.StatusGone); expired && query.Has("continue") {
			// The snapshot behind the token is gone: all over again, in one answer.
			all, query = nil, url.Values{"labelSelector": {labelSelector}}
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if next == "" {
			return all, nil
		}
		query.Set("continue", next)
	}
}

func (c *Client) page(ctx context.Context, k kind, gvk schema.GroupVersionKind, namespace string, query url.Values) ([]unstructured.Unstructured, string, error) {
	var list struct {
		Metadata metav1.ListMeta  `json:"metadata"`
		Items    []map[string]any `json:"items"`
	}
	req := c.verb("GET").AbsPath(k.path(namespace))
	for name, values := range query {
		req.Param(name, values[0])
	}
	if err := c.do(ctx, action{"list", object.ID{Kind: gvk.Kind, Namespace: namespace, Name: "*"}, c.identity}, req, &list); err != nil {
		return nil, "", err
	}
	items := make([]unstructured.Unstructured, 0, len(list.Items))
	for _, item := range list.Items {
		u := unstructured.Unstructured{Object: item}
		u.SetGroupVersionKind(gvk) // items of a list do not name their kind
		items = append(items, u)
	}
	return items, list.Metadata.Continue, nil
}

// onKind carries out act on the kind that serves id, and once more with a
// fresh look when the cluster turns out to serve it elsewhere by now.
func (c *Client) onKind(ctx context.Context, id object.ID, version string, act func(kind) error) error {
	if err := checkName(id); err != nil {
		return err
	}
	inScope := func(k kind) error {
		if k.namespaced && id.Namespace == "" {
			// Without this the answer would be 404, and that reads as absent.
			return fault.Refuse("", fault.Place{Object: id.Human(), Field: "metadata.namespace"}, "no namespace is set")
		}
		return act(k)
	}
	k, err := c.cluster.kinds.any(ctx, id.GroupKind(), version)
	if err != nil {
		return err
	}
	if err = inScope(k); !isGoneRoute(err) {
		return err
	}
	c.cluster.kinds.forget(k.gv)
	if k, err = c.cluster.kinds.any(ctx, id.GroupKind(), version); err != nil {
		return err
	}
	return inScope(k)
}

// checkName keeps names from sources inside their segment of the URL.
func checkName(id object.ID) error {
	if id.Name == "" {
		return fault.Refuse("", fault.Place{Object: id.Human(), Field: "metadata.name"},
			"a name is required; generateName does not work with server-side apply")
	}
	for field, value := range map[string]string{"metadata.name": id.Name, "metadata.namespace": id.Namespace} {
		if problems := path.IsValidPathSegmentName(value); len(problems) > 0 {
			return fault.Refuse("", fault.Place{Object: id.Human(), Field: field}, "%s", strings.Join(problems, ", "))
		}
	}
	return nil
}

// verb begins a request. The retries of client-go are off: they sleep for as
// long as the server likes while the caller holds a worker slot.
func (c *Client) verb(method string) *rest.Request {
	return c.rest.Verb(method).MaxRetries(0).Timeout(c.cluster.options.Timeout)
}

// do sends a request, classifies its error, and decodes its answer unless into is nil.
func (c *Client) do(ctx context.Context, a action, req *rest.Request, into any) error {
	result := req.Do(ctx)
	if err := result.Error(); err != nil {
		return classify(a, err)
	}
	if into == nil {
		return nil
	}
	body, err := result.Raw()
	if err != nil {
		return classify(a, err)
	}
	if err := decode(body, into); err != nil {
		return fault.Retry("", "%s: %w", a, err)
	}
	return nil
}

// read gets a document that every account may read.
func (c *Client) read(ctx context.Context, path string, into any) error {
	return c.do(ctx, action{"read", object.ID{Kind: path}, c.identity}, c.verb("GET").RequestURI(path), into)
}

// isGoneRoute reports that the cluster no longer serves the kind where it did.
func isGoneRoute(err error) bool {
	var missing *apiError
	return errors.As(err, &missing) && missing.status.Code == http.StatusNotFound && noSuchRoute(missing.status)
}

func isUnknownKind(err error) bool { return errors.Is(err, ErrUnknownKind) }

// errAnswer stands for any decoding error, since those may quote a Secret.
var errAnswer = errors.New("the answer is not what the API promises")

func decode(body []byte, into any) error {
	if u, ok := into.(*unstructured.Unstructured); ok {
		into = &u.Object // its own decoder wants a kind, which items of a list lack
	}
	if json.Unmarshal(body, into) != nil {
		return errAnswer
	}
	return nil
}
