"use strict";
// The document beside the page; nothing is validated elsewhere, nothing is kept.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
  queryConfigEnabled: false,
  persistAuthorization: false,
  docExpansion: "list",
  presets: [SwaggerUIBundle.presets.apis],
});
