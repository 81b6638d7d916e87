"""The web application: one page, what it needs to know, and one call that classifies a picture.

Nothing that is sent is written to a file. Errors are sentences in JSON; a fault of netc says only that it is one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..grammar.source import UserError
from .addresses import fetched
from .pictures import MOST_BYTES, checked, decoded, drawn
from .predictor import Busy, Predictor

if TYPE_CHECKING:
    from flask import Flask
    from flask.typing import ResponseReturnValue

EXTRA = "the page needs the extra `netc[web]`: pip install 'netc[web]'"
THREADS = 8  # requests that are read at a time
CONNECTIONS = 256
POLICY = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"


def application(predictor: Predictor, *, addresses: bool = False) -> Flask:
    """The page of a classifier as a WSGI application. addresses: whether pictures are fetched for who names them."""
    try:
        from flask import Flask, jsonify, request, send_from_directory
        from werkzeug.exceptions import HTTPException
    except ImportError:
        raise UserError(EXTRA) from None

    app = Flask(__name__, static_folder="static", static_url_path="/static")
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES

    @app.get("/")
    def page() -> ResponseReturnValue:
        return send_from_directory(app.static_folder or "", "page.html")

    @app.get("/info")
    def info() -> ResponseReturnValue:
        height, width = predictor.size
        return jsonify(
            name=predictor.name,
            height=height,
            width=width,
            gray=predictor.gray,
            layers=predictor.layers,
            addresses=addresses,
            most_bytes=MOST_BYTES,
        )

    @app.post("/classify")
    def classify() -> ResponseReturnValue:
        layer = request.args.get("layer") or None
        if request.args.get("address") is not None:
            if not addresses:
                raise UserError("pictures by address are off: the server was started without --allow-url")
            data = fetched(request.args["address"])
        else:
            data = checked(request.get_data(cache=False))
        image = decoded(data, predictor.size, gray=predictor.gray, rgb=predictor.rgb)
        found = predictor.predict(image, layer)
        answer: dict[str, Any] = {
            "classes": [{"name": name, "score": score} for name, score in found.classes],
            "milliseconds": round(1000 * found.seconds, 2),
            "together": found.together,
        }
        if found.activations is not None:
            answer["channels"] = [drawn(channel) for channel in found.activations]
        return jsonify(answer)

    @app.errorhandler(UserError)
    def mistake(error: UserError) -> ResponseReturnValue:
        return jsonify(error=str(error)), 400

    @app.errorhandler(Busy)
    def busy(error: Busy) -> ResponseReturnValue:
        return jsonify(error="too many pictures wait: try again in a moment"), 503, {"Retry-After": "2"}

    @app.errorhandler(HTTPException)
    def known(error: HTTPException) -> ResponseReturnValue:
        too_large = f"the picture is too large: at most {MOST_BYTES:,} bytes are taken"
        return jsonify(error=too_large if error.code == 413 else error.name), error.code or 500

    @app.errorhandler(Exception)
    def fault(error: Exception) -> ResponseReturnValue:
        logging.getLogger(__name__).exception("fault", exc_info=error)
        return jsonify(error="the server made a mistake"), 500

    @app.after_request
    def guarded(response: Any) -> Any:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return app


def serve(app: Flask, host: str, port: int) -> Any:
    """A server of the application, listening already; its `run()` serves until it is closed."""
    try:
        from waitress import create_server
    except ImportError:
        raise UserError(EXTRA) from None
    try:
        return create_server(
            app,
            host=host,
            port=port,
            threads=THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=30,
            cleanup_interval=5,
            max_request_body_size=MOST_BYTES + 1,
            # Larger bodies would go to files: none is larger.
            inbuf_overflow=MOST_BYTES * 2,
            outbuf_overflow=MOST_BYTES * 2,
            ident="netc",
        )
    except OSError as error:
        raise UserError(f"{host}:{port}: cannot be listened at: {error.strerror or error}") from None
