// Package git reads commits out of Git: it owns repository URLs, refs,
// credentials, the fetch into a store on disk, and the tree of a commit as an
// fs.FS. It is the only package that imports go-git.
//
// It also chooses among tags by version, mounts submodules, and verifies who signed
// a commit. Nothing from a repository is ever checked out or run. A store is a bare
// repository per remote; the first contact asks for depth 1, later fetches send
// the stored tips and the store's shallow commits, so that a small push costs a
// small pack. A commit counts as fetched only when it and its trees resolve; a
// store that lacks something it should have is replaced by a fresh one.
//
// How it fails: bad URLs, redirects elsewhere and hosts that show another key than
// known_hosts has are permanent (SourceRefused), so are a credential that does not
// fit the URL and what a tree must not hold; wrong credentials and missing
// repositories or refs are permanent (FetchFailed); everything of the network is
// transient.
// No error, log line or String method shows a credential.
package git
