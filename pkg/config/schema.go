package config

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Parse reads the text of a file; see Load.
func Parse(file string, data []byte, sections ...string) (Config, error) {
	c := Default()
	root, err := document(file, data)
	if err != nil {
		return Config{}, err
	}
	r := &reader{file: file, nodes: map[string]*yaml.Node{}}
	if root != nil {
		object(c.sections(sections))(r, place{node: root})
	}
	if len(r.problems) == 0 {
		c.relations(r)
	}
	if err := r.err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// document returns the root of the only YAML document; nil when there is none.
func document(file string, data []byte) (*yaml.Node, error) {
	in := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := in.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, syntax(file, err)
	}
	if err := in.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fault.Refuse("", fault.Place{File: file}, "read YAML: more than one document; keep one")
	}
	return doc.Content[0], nil
}

func (r *reader) err() error {
	slices.SortStableFunc(r.problems, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	all := make([]error, len(r.problems))
	for i, p := range r.problems {
		all[i] = p.err
	}
	return errors.Join(all...)
}

// sections is the schema of the file.
func (c *Config) sections(used []string) map[string]field {
	schema := map[string]field{
		"cluster":       text(&c.Cluster, name),
		"clusterLabels": table(&c.ClusterLabels, labelled),
		"kubernetes":    object(map[string]field{"kubeconfig": text(&c.Kubernetes.Kubeconfig, existing)}),
		"nats":          c.NATS.fields(),
		"admin":         object(map[string]field{"listen": text(&c.Admin.Listen, address), "profiles": truth(&c.Admin.Profiles)}),
		"git":           c.Git.fields(),
		"receiver":      c.Receiver.fields(),
		"worker":        c.Worker.fields(),
		"driftScanner":  object(map[string]field{"interval": duration(&c.DriftScanner.Interval, 10*time.Second, 24*time.Hour)}),
		"committer":     object(nil),
		"alerter":       c.Alerter.fields(),
		"dashboard":     object(map[string]field{"listen": text(&c.Dashboard.Listen, address)}),
	}
	for key, read := range schema {
		schema[key] = section(read, len(used) == 0 || slices.Contains(used, key))
	}
	return schema
}

// section decides whether files named in a section must be there.
func section(read field, used bool) field {
	return func(r *reader, at place) {
		r.check = used
		read(r, at)
	}
}

func (n *NATS) fields() field {
	return object(map[string]field{
		"url":             text(&n.URL, natsURL),
		"credentialsFile": text(&n.CredentialsFile, existing),
		"dataDir":         text(&n.DataDir, filled),
		"replicas":        number(&n.Replicas, 1, 5),
		"syncAlways":      truth(&n.SyncAlways),
	})
}

func (g *Git) fields() field {
	return object(map[string]field{
		"insecureHosts": texts(&g.InsecureHosts, host),
		"credentials":   list(&g.Credentials, (*Credential).fields),
		"sources":       list(&g.Sources, (*Source).fields),
		"aliases":       table(&g.Aliases, repository),
	})
}

func (s *Source) fields() field {
	return object(map[string]field{
		"prefix":     text(&s.Prefix, repositoryPrefix),
		"namespaces": texts(&s.Namespaces, namespace),
	}, "prefix", "namespaces")
}

func (v *Receiver) fields() field {
	return object(map[string]field{
		"listen": text(&v.Listen, address),
		"hooks": list(&v.Hooks, func(h *Hook) field {
			return object(map[string]field{
				"name":       text(&h.Name, name),
				"provider":   text(&h.Provider, oneOf(Providers...)),
				"secretFile": text(&h.SecretFile, filled, existing),
				"repos":      texts(&h.Repos, filled),
			}, "name", "provider", "secretFile")
		}),
	})
}

func (w *Worker) fields() field {
	return object(map[string]field{
		"concurrency":           number(&w.Concurrency, 1, 1024),
		"impersonation":         text(&w.Impersonation, oneOf(ImpersonationOptional, ImpersonationRequired)),
		"defaultServiceAccount": text(&w.DefaultServiceAccount, account),
		"render": object(map[string]field{
			"timeout": duration(&w.Render.Timeout, time.Second, 10*time.Minute),
			"cpu":     duration(&w.Render.CPU, time.Second, 10*time.Minute),
		}),
	})
}

func (a *Alerter) fields() field {
	return object(map[string]field{
		"channels": list(&a.Channels, func(c *Channel) field {
			return object(map[string]field{
				"name":    text(&c.Name, name),
				"type":    text(&c.Type, oneOf("slack", "webhook")),
				"urlFile": text(&c.URLFile, filled, existing),
			}, "name", "type", "urlFile")
		}),
		"routes": list(&a.Routes, (*Route).fields),
	})
}

func (v *Route) fields() field {
	return object(map[string]field{
		"match": object(map[string]field{
			"clusters":   texts(&v.Match.Clusters, glob),
			"namespaces": texts(&v.Match.Namespaces, glob),
			"names":      texts(&v.Match.Names, glob),
		}),
		"to": texts(&v.To, name),
	}, "to")
}
