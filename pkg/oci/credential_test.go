package oci_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/oci"
)

// The secrets of these tests. No error may hold one, nor what is made of one.
const (
	password = "canary-password"
	bearer   = "canary-bearer"
	identity = "canary-identity"
	issued   = "canary-issued" // by the token server
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// keepsSecrets checks what an error tells.
func keepsSecrets(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		text := fmt.Sprintf("%v %+v %q", e, e, e)
		for _, secret := range []string{"canary", base64.StdEncoding.EncodeToString([]byte("ci:" + password))} {
			if strings.Contains(text, secret) {
				t.Errorf("the error tells a secret: %v", e)
			}
		}
	}
}

func TestACredentialNeverPrints(t *testing.T) {
	docker, err := oci.DockerConfig([]byte(`{"auths":{"a.local":{"username":"ci","password":"` + password + `"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]oci.Credential{
		"no credential": oci.Basic("", ""), "user name and password": oci.Basic("ci", password), "bearer token": oci.Bearer(bearer),
		"identity token": oci.Identity(identity), "docker configuration": docker,
	} {
		in := struct{ C oci.Credential }{c}
		encoded, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%v %+v %#v %s %q %s", in, in, in, c, c, encoded)
		if strings.Contains(text, "canary") || c.String() != want {
			t.Errorf("%s is %s", want, text)
		}
	}
}

func TestWhichLoginOfADockerConfiguration(t *testing.T) {
	c, err := oci.DockerConfig([]byte(`{"auths": {
		"https://index.docker.io/v1/": {"auth": "` + base64.StdEncoding.EncodeToString([]byte("hub:p")) + `"},
		"a.local": {"username": "a", "password": "p"},
		"a.local/team": {"username": "team", "password": "p"},
		"http://b.local:5000": {"username": "b", "password": "p"},
		"c.local": {"auth": "` + base64.StdEncoding.EncodeToString([]byte("<token>:x")) + `", "identitytoken": "i"},
		"d.local": {"registrytoken": "r"}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	for u, want := range map[string]string{
		"https://index.docker.io/library/x": basic("hub", "p"), "https://docker.io/library/x": basic("hub", "p"),
		"https://a.local": basic("a", "p"), "https://a.local/other/x": basic("a", "p"), "https://A.local/team/x": basic("team", "p"), "https://a.local/teams": basic("a", "p"),
		"https://b.local:5000/x": basic("b", "p"), "https://b.local/x": "", "https://c.local/x": "", "https://d.local/x": "Bearer r", "https://a.local.evil/x": "",
	} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.For(parsed); got != want {
			t.Errorf("%s: %q, want %q", u, got, want)
		}
	}
}

func TestDockerConfigurationsThatAreNone(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"no JSON":              {password, "no JSON"},
		"a list":               {`["` + password + `"]`, "no JSON"},
		"no auths":             {`{"` + password + `": {}}`, "no auths"},
		"an auth in no base64": {`{"auths":{"a":{"auth":"` + password + `"}}}`, "not the base64"},
		"an auth of one part":  {`{"auths":{"a":{"auth":"Y2FuYXJ5"}}}`, "not the base64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := oci.DockerConfig([]byte(c.data))
			fails(t, err, fault.Permanent, c.want)
			keepsSecrets(t, err)
		})
	}
}

// want is a door that opens for one Authorization header; else it asks with a challenge.
func want(authorization, challenge string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if q.Header.Get("Authorization") == authorization {
			return true
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, q.Header.Get("Authorization")) // a careless server
		return false
	}
}

// tokens is a token server that takes a password, or an identity token.
func tokens(w http.ResponseWriter, q *http.Request) {
	fromIdentity := q.Method == http.MethodPost && q.FormValue("refresh_token") == identity && q.FormValue("scope") == "repository:x:pull"
	fromPassword := q.Header.Get("Authorization") == basic("ci", password) && q.URL.Query().Get("scope") == "repository:x:pull"
	if !fromIdentity && !fromPassword {
		http.Error(w, "no "+q.Header.Get("Authorization"), http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, `{"token": %q, "refresh_token": "canary-renewed"}`, issued)
}

func TestRegistriesThatWantACredential(t *testing.T) {
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	elsewhere := serve(t, true, http.HandlerFunc(tokens))
	basicDoor := want(basic("ci", password), `Basic realm="registry"`)
	tokenDoor := want("Bearer "+issued, `Bearer realm="`+elsewhere.local()+`/token",service="r",scope="repository:x:pull"`)
	ownTokens := func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path == "/token" {
			tokens(w, q)
			return false
		}
		return want("Bearer "+issued, `Bearer realm="`+r.URL+`/token",service="r"`)(w, q)
	}
	docker, err := oci.DockerConfig([]byte(`{"auths":{"` + r.host() + `":{"username":"ci","password":"` + password + `"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := oci.DockerConfig([]byte(`{"auths":{"other.local":{"username":"ci","password":"` + password + `"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		door       func(http.ResponseWriter, *http.Request) bool
		credential oci.Credential
		err        string
	}{
		"a password":                                  {basicDoor, oci.Basic("ci", password), ""},
		"a password with a line end":                  {basicDoor, oci.Basic("ci\n", password+"\n"), ""},
		"a password of a docker configuration":        {basicDoor, docker, ""},
		"none, and one is wanted":                     {basicDoor, oci.Credential{}, "wants a credential"},
		"another password":                            {basicDoor, oci.Basic("ci", "canary-wrong"), "refuses the user name and password"},
		"a docker configuration for another host":     {basicDoor, foreign, "wants a credential"},
		"a bearer token":                              {want("Bearer "+bearer, `Bearer realm="`+elsewhere.local()+`/token"`), oci.Bearer(bearer), ""},
		"a bearer token where basic is asked for":     {want("Bearer "+bearer, `Basic realm="x"`), oci.Bearer(bearer), ""},
		"a token for a password":                      {ownTokens, oci.Basic("ci", password), ""},
		"a token for a password, of another host":     {tokenDoor, oci.Basic("ci", password), ""},
		"a token for an identity":                     {ownTokens, oci.Identity(identity), ""},
		"a token for an identity, of another host":    {tokenDoor, oci.Identity(identity), ""},
		"a token for nothing":                         {tokenDoor, oci.Credential{}, "wants a credential"},
		"a token for another password":                {tokenDoor, oci.Basic("ci", "canary-wrong"), "refuses the user name and password"},
		"a bearer token that the registry thinks bad": {tokenDoor, oci.Bearer(bearer), "refuses the bearer token"},
	} {
		t.Run(name, func(t *testing.T) {
			r.guard(c.door)
			got, err := client(oci.Options{}).Fetch(t.Context(), oci.Query{URL: r.url("x"), Ref: "main", Credential: c.credential})
			if c.err != "" {
				fails(t, err, fault.Permanent, c.err)
				keepsSecrets(t, err)
				return
			}
			if err != nil || content(t, got.Tree)["a"] != "1" {
				t.Error(err)
			}
		})
	}
}

// What one credential may see gives nothing away to another.
func TestTheShelfIsNoWayAround(t *testing.T) {
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	r.guard(want(basic("ci", password), `Basic realm="registry"`))
	c := client(oci.Options{})
	q := oci.Query{URL: r.url("x"), Ref: "main", Credential: oci.Basic("ci", password)}
	if _, err := c.Fetch(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	q.Credential = oci.Credential{}
	_, err := c.Fetch(t.Context(), q)
	fails(t, err, fault.Permanent, "wants a credential")
	q.Credential = oci.Basic("ci", password)
	r.guard(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return false })
	_, err = c.Fetch(t.Context(), q)
	fails(t, err, fault.Permanent, "refuses the user name and password")
	r.guard(want(basic("ci", password), `Basic realm="registry"`))
	if _, err := c.Fetch(t.Context(), q); err != nil {
		t.Errorf("after the rights came back: %v", err)
	}
}

func TestAnExpiredTokenIsRenewed(t *testing.T) {
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	valid := "1"
	server := serve(t, true, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"token":%q}`, valid) }))
	door := func(w http.ResponseWriter, q *http.Request) bool {
		return want("Bearer "+valid, `Bearer realm="`+server.local()+`/token"`)(w, q)
	}
	r.guard(door)
	c := client(oci.Options{})
	for _, valid = range []string{"1", "2"} {
		if _, err := c.Fetch(t.Context(), oci.Query{URL: r.url("x"), Ref: "main", Credential: oci.Basic("ci", password)}); err != nil {
			t.Fatal(err)
		}
	}
}

// redirect sends requests for paths that hold part to another site.
func redirect(part, to string, status int, inner func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if !inner(w, q) {
			return false
		}
		if !strings.Contains(q.URL.Path, part) {
			return true
		}
		http.Redirect(w, q, to+q.URL.Path+"?X-Amz-Signature=canary-signature", status)
		return false
	}
}

// The heart of the matter: who gets to see a credential.
func TestACredentialGoesToItsRegistryOnly(t *testing.T) {
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	sites := map[string]*site{
		"secure": serve(t, true, r.backend), "plain": serve(t, false, r.backend),
		"tokens": serve(t, true, http.HandlerFunc(tokens)), "their tokens": serve(t, true, http.HandlerFunc(tokens)), "plain tokens": serve(t, false, http.HandlerFunc(tokens)),
	}
	sites["away"] = serve(t, true, http.RedirectHandler(sites["secure"].local()+"/token", http.StatusTemporaryRedirect))
	sites["asking"] = serve(t, true, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		want("no", `Bearer realm="`+sites["their tokens"].local()+`/token",service="r",scope="repository:x:pull"`)(w, q)
	}))
	secure, plain := sites["secure"].local(), sites["plain"].local()
	open := want(basic("ci", password), `Basic realm="registry"`)
	tokensAt := func(s string) func(http.ResponseWriter, *http.Request) bool {
		return want("Bearer "+issued, `Bearer realm="`+sites[s].local()+`/token",service="r",scope="repository:x:pull"`)
	}
	ci, id := oci.Basic("ci", password), oci.Identity(identity)
	for name, c := range map[string]struct {
		door       func(http.ResponseWriter, *http.Request) bool
		credential oci.Credential
		told       []string // sites that see a credential, beside the registry
		asked      []string // sites that see anything at all
		err        string
	}{
		"blobs on another host":                         {redirect("/blobs/", secure, 307, open), ci, nil, []string{"secure"}, ""},
		"blobs on another port":                         {redirect("/blobs/", sites["secure"].URL, 307, open), ci, nil, []string{"secure"}, ""},
		"blobs on another host, with a token":           {redirect("/blobs/", secure, 302, tokensAt("tokens")), ci, []string{"tokens"}, []string{"secure", "tokens"}, ""},
		"blobs on another host that asks for more":      {redirect("/blobs/", sites["asking"].local(), 307, open), ci, nil, []string{"asking"}, "refuses the user name"},
		"blobs on another host that asks for a token":   {redirect("/blobs/", sites["asking"].local(), 307, tokensAt("tokens")), ci, []string{"tokens"}, []string{"asking", "their tokens", "tokens"}, "refuses the user name"},
		"blobs over plain http":                         {redirect("/blobs/", plain, 307, open), ci, nil, nil, "from https to plain http"},
		"blobs of the metadata service":                 {redirect("/blobs/", "https://169.254.169.254", 307, open), ci, nil, nil, "link-local"},
		"manifests on another host":                     {redirect("/manifests/", secure, 307, open), ci, nil, nil, "redirects to " + secure},
		"tags on another host":                          {redirect("/tags/", secure, 307, open), ci, nil, nil, "redirects to " + secure},
		"all of it on another host":                     {redirect("/v2/", secure, 301, func(http.ResponseWriter, *http.Request) bool { return true }), ci, nil, nil, "redirects to " + secure},
		"tokens of another host":                        {tokensAt("tokens"), ci, []string{"tokens"}, []string{"tokens"}, ""},
		"tokens over plain http":                        {tokensAt("plain tokens"), ci, nil, nil, "fetch oci"},
		"tokens over plain http, for an identity":       {tokensAt("plain tokens"), id, nil, nil, "fetch oci"},
		"tokens of a host that redirects":               {tokensAt("away"), ci, []string{"away"}, []string{"away"}, "redirects to " + secure},
		"tokens of a host that redirects, for identity": {tokensAt("away"), id, []string{"away"}, []string{"away"}, "redirects to " + secure},
	} {
		t.Run(name, func(t *testing.T) {
			r.guard(c.door)
			q := oci.Query{URL: r.url("x"), Ref: "main", Credential: c.credential}
			if strings.HasPrefix(name, "tags") {
				q.Ref, q.Semver = "", "*"
			}
			_, err := client(oci.Options{}).Fetch(t.Context(), q)
			keepsSecrets(t, err)
			if c.err == "" && err != nil {
				t.Error(err)
			}
			if c.err != "" && !slices.ContainsFunc(strings.Split(c.err, "|"), func(s string) bool { return err != nil && strings.Contains(err.Error(), s) }) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			var told, asked []string
			for name, s := range sites {
				seen, auths := s.take()
				if len(seen) > 0 {
					asked = append(asked, name)
				}
				if slices.ContainsFunc(auths, func(a string) bool {
					return !strings.Contains(a, "Bearer "+issued) || !strings.HasPrefix(name, "asking")
				}) {
					told = append(told, name)
				}
			}
			slices.Sort(told)
			slices.Sort(asked)
			if diff := cmp.Diff(c.told, told); diff != "" {
				t.Errorf("who saw a credential: %s", diff)
			}
			if diff := cmp.Diff(c.asked, asked); diff != "" {
				t.Errorf("who was asked: %s", diff)
			}
		})
	}
}

// Plain http is for listed hosts, and a host that is not listed hears nothing.
func TestPlainHTTPIsForListedHosts(t *testing.T) {
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	open := serve(t, false, r.backend)
	q := oci.Query{URL: "oci://" + open.host() + "/x", Ref: "main", Credential: oci.Basic("ci", password)}
	if _, err := client(oci.Options{}).Fetch(t.Context(), q); err != nil {
		t.Errorf("a listed host: %v", err)
	}
	open.take()
	_, err := client(oci.Options{InsecureHosts: []string{"other.local"}}).Fetch(t.Context(), q)
	fails(t, err, fault.Permanent, "git.insecureHosts")
	if seen, _ := open.take(); len(seen) > 0 {
		t.Errorf("it was asked %q", seen)
	}
}

// A registry over plain http may name a token server over plain http, and the
// library would follow.
func TestATokenServerOfAnotherHostMustBeSecure(t *testing.T) {
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	plainTokens, secureTokens := serve(t, false, http.HandlerFunc(tokens)), serve(t, true, http.HandlerFunc(tokens))
	var realm string
	home := serve(t, false, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/token" {
			tokens(w, q)
			return
		}
		if want("Bearer "+issued, `Bearer realm="`+realm+`",service="r",scope="repository:x:pull"`)(w, q) {
			r.backend.ServeHTTP(w, q)
		}
	}))
	for name, c := range map[string]struct{ realm, err string }{
		"plain, elsewhere":  {plainTokens.local() + "/token", "a credential would go to " + plainTokens.local()},
		"secure, elsewhere": {secureTokens.local() + "/token", ""},
		"plain, at home":    {home.URL + "/token", ""},
	} {
		for _, credential := range []oci.Credential{oci.Basic("ci", password), oci.Identity(identity)} {
			t.Run(name+", "+credential.String(), func(t *testing.T) {
				realm = c.realm
				_, err := client(oci.Options{}).Fetch(t.Context(), oci.Query{URL: "oci://" + home.host() + "/x", Ref: "main", Credential: credential})
				keepsSecrets(t, err)
				if c.err == "" && err != nil {
					t.Error(err)
				}
				if c.err != "" {
					fails(t, err, fault.Permanent, c.err)
				}
				if _, auths := plainTokens.take(); len(auths) > 0 {
					t.Error("a credential went out in plain")
				}
			})
		}
	}
}

// Callers share answers only with those who show the same credential.
func TestAnswersAreSharedByCredential(t *testing.T) {
	r := newRegistry(t)
	r.publish(t, "x", flux(t, map[string]string{"a": "1"}), "main")
	r.guard(want(basic("ci", password), `Basic realm="registry"`))
	c := client(oci.Options{})
	var wait sync.WaitGroup
	for n := range 40 {
		q := oci.Query{URL: r.url("x"), Ref: "main"}
		if n%2 == 0 {
			q.Credential = oci.Basic("ci", password)
		}
		wait.Go(func() {
			if _, err := c.Fetch(t.Context(), q); (err == nil) != (n%2 == 0) {
				t.Errorf("with %s: %v", q.Credential, err)
			}
		})
	}
	wait.Wait()
}
