// Serves the part of the control API that shows and changes the fabric.

import type { FastifyInstance } from "fastify";
import type { FabricHandle } from "../domain/fabric-handle.ts";
import { AddCable, AddNode, ChangeLink, FabricPageQuery, PathQuery } from "./fabric-api.ts";

export function addFabricRoutes(app: FastifyInstance, fabric: FabricHandle): void {
  app.get("/v1/fabric/nodes", (request) => {
    const { from, limit } = FabricPageQuery.parse(request.query);
    return fabric.nodes(from, limit);
  });
  app.get("/v1/fabric/links", (request) => {
    const { from, limit } = FabricPageQuery.parse(request.query);
    return fabric.links(from, limit);
  });
  app.get("/v1/fabric/path", (request) => {
    const { from, to, offset } = PathQuery.parse(request.query);
    return fabric.path(from, to, offset);
  });
  app.get<{ Params: { name: string } }>("/v1/fabric/nodes/:name", ({ params }) => fabric.node(params.name));
  app.post("/v1/fabric/nodes", (request) => fabric.addNode(AddNode.parse(request.body)));
  app.delete<{ Params: { name: string } }>("/v1/fabric/nodes/:name", ({ params }) => fabric.removeNode(params.name));
  app.post("/v1/fabric/links", (request) => {
    const { ends, ...rate } = AddCable.parse(request.body);
    return fabric.addCable(ends, rate);
  });
  app.patch<{ Params: { end: string } }>("/v1/fabric/links/:end", ({ params, body }) =>
    fabric.changeLink(params.end, ChangeLink.parse(body)),
  );
  app.delete<{ Params: { end: string } }>("/v1/fabric/links/:end", ({ params }) => fabric.removeCable(params.end));
}
