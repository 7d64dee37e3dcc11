// Package page is the sandbox's front door: one static page that shows, side by
// side, a resident's WeChat, a WeCom work group and an SMS inbox, and lets a
// visitor act in all three.
//
// The page talks to the simulators through the /sim/ control calls and nothing
// else, so whatever a visitor sees has crossed the vendors' protocols. It must
// never call the product, load anything from another address, or keep state that
// the simulators don't have. HTML, styles and scripts are embedded and need no
// build step.
//
// It sits inside internal/sandbox, which mounts Handler at "/" beside "/sim/" and
// the vendors' endpoints.
package page
