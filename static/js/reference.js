// The API's reference: Swagger UI or Redoc, whichever the page brings, over the document of this server.
"use strict";

const place = document.getElementById("reference");
const { document: address, csrf } = place.dataset;

if (place.dataset.with === "swagger") {
  window.SwaggerUIBundle({
    url: address,
    domNode: place,
    deepLinking: true,
    docExpansion: "none",
    filter: true,
    displayRequestDuration: true,
    validatorUrl: null,
    // What is tried here is asked by the session of whoever is signed in; a token, if one is given, counts alone.
    requestInterceptor: (request) => {
      request.headers["X-CSRFToken"] = csrf;
      return request;
    },
  });
} else {
  // Redoc would fetch its maker's mark from elsewhere; nothing here comes from elsewhere, and it has no other images.
  const images = HTMLImageElement.prototype;
  const put = images.setAttribute;
  images.setAttribute = function (name, value) {
    put.call(this, name === "src" ? "hidden" : name, value);
  };
  Object.defineProperty(images, "src", { set() {} });
  window.Redoc.init(address, { disableSearch: true, hideDownloadButton: true, nativeScrollbars: true, scrollYOffset: "header.reference" }, place);
}
